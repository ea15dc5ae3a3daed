#!/usr/bin/env python3
"""The rules of the house that a machine can check.

Each rule is one test case: layers (which folder may include which), documentation of counters, words that do not
belong into the tree, formatting. Prints one line a case and exits 1 when one fails.
"""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder -> what it may include besides itself. docs/architecture.md explains the order.
LAYERS = {
    "driver/abi": [],
    "driver/channel": ["driver/abi"],
    "driver/memory": ["driver/abi"],
    "verbs/libibverbs_abi": [],
    "verbs": ["driver", "verbs/libibverbs_abi"],
    "dataplane/base": [],
    "dataplane/wire": ["dataplane/base"],
    "dataplane/net": ["dataplane/base", "dataplane/port", "dataplane/wire"],
    "dataplane/transport": ["dataplane/base", "dataplane/wire"],
    "dataplane/port": ["driver/abi", "dataplane/base"],
    "dataplane/memory": ["driver/abi", "dataplane/base", "dataplane/port", "dataplane/wire"],
    "dataplane/device": [
        "driver/abi", "dataplane/base", "dataplane/port", "dataplane/wire", "dataplane/memory", "dataplane/net",
        "dataplane/transport",
    ],
    "dataplane/tenant": ["dataplane/base", "dataplane/device"],
    "dataplane/platform": [
        "driver/abi", "dataplane/base", "dataplane/port", "dataplane/memory", "dataplane/device", "dataplane/wire",
        "dataplane/net",
    ],
    "dataplane/control": ["driver/abi"],
    "dataplane/app": ["driver/abi", "dataplane"],
    "tools": ["dataplane/control", "dataplane/platform", "tools"],
}

# Headers of the operating system, DPDK and sockets stay out of the core.
CORE = ["dataplane/base", "dataplane/wire", "dataplane/net", "dataplane/memory", "dataplane/device", "dataplane/tenant", "dataplane/port"]
FOREIGN = re.compile(r"#include <(sys/|unistd|fcntl|rte_|boost/|thread|mutex|chrono|random|fmt/|spdlog/)")


def sources():
    listed = subprocess.run(
        ["git", "ls-files", "*.h", "*.cpp", "*.c"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def folder_of(name):
    for folder in sorted(LAYERS, key=len, reverse=True):
        if name.startswith(folder + "/"):
            return folder
    return None


def check_layers():
    for path in sources():
        name = str(path.relative_to(ROOT))
        folder = folder_of(name)
        if folder is None:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'#include "((?:driver|verbs|dataplane|tools)/[^"]+)"', line)
            if match:
                target = match.group(1)
                allowed = [folder] + LAYERS[folder]
                if not any(target.startswith(other + "/") for other in allowed):
                    yield f"{name}:{number}: {folder} may not include {target}"
            if folder in CORE and FOREIGN.match(line):
                yield f"{name}:{number}: the core includes nothing of the system: {line}"


def check_counters_documented():
    documented = (ROOT / "docs/operations.md").read_text()
    text = (ROOT / "dataplane/device/counters.cpp").read_text()
    counters, reasons = text.split("CounterText reason_text", 1)
    for name in re.findall(r'return\s*\{\s*"([a-z_]+)"', counters):
        if f"`{name}`" not in documented and name != "unknown":
            yield f"docs/operations.md has no entry for the counter `{name}`"
    for name in re.findall(r'return\s*\{\s*"([a-z_]+)"', reasons):
        if f"`failed_{name}`" not in documented and name not in ("unknown", "none"):
            yield f"docs/operations.md has no entry for the counter `failed_{name}`"


def check_guarantees_have_tests():
    """Every promise in docs/guarantees.md names a test that exists."""
    tests = "\n".join(
        path.read_text()
        for path in (ROOT / "tests").rglob("*")
        if path.suffix in (".cpp", ".py") and path.is_file()
    )
    known = set(re.findall(r"\w+", tests))
    for number, line in enumerate((ROOT / "docs/guarantees.md").read_text().splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| ") or cells[0] in ("promise", "---"):
            continue
        names = re.findall(r"`(\w+)`", cells[-1])
        if not names:
            yield f"docs/guarantees.md:{number}: a promise without a test"
        for name in names:
            if name not in known:
                yield f"docs/guarantees.md:{number}: there is no test {name}"


def check_words():
    marker = re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b")
    for path in sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if marker.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: unfinished work is not left in the tree: {line.strip()}"


def check_format():
    tool = shutil.which("clang-format")
    if tool is None:
        print("SKIP tidy.format: clang-format is not installed")
        return
    names = [str(path.relative_to(ROOT)) for path in sources()]
    result = subprocess.run(
        [tool, "--dry-run", *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for line in result.stderr.splitlines():
        if "warning:" in line:
            yield line


def main():
    failed = 0
    cases = {
        "layers": check_layers,
        "counters_documented": check_counters_documented,
        "guarantees_have_tests": check_guarantees_have_tests,
        "words": check_words,
        "format": check_format,
    }
    for name, check in cases.items():
        problems = list(check())
        print(f"{'FAIL' if problems else 'PASS'} tidy.{name}")
        for problem in problems[:40]:
            print("  " + problem)
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
