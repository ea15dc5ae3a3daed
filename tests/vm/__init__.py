"""Virtual machines with a stock Debian kernel, as peers of the tests. docs: tests/vm/README.md."""
