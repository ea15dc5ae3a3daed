"""Runs vRDMA's tests. docs: tests/README.md."""
