"""rdma-core's own tests of XRC, in Python over pyverbs, as the distribution ships them: compressed, in
the documentation of python3-pyverbs. A test that skips itself counts as failed: it would not test."""

import functools
import gzip
import pathlib
import re
import shutil
import tempfile

from harness.suite import Service, Skip, Suite, check, equal

SHIPPED = pathlib.Path("/usr/share/doc/rdma-core/tests")
PYTHON = "/usr/bin/python3"  # pyverbs is the distribution's

TESTS = {
    "send": "test_qpex.QpExTestCase.test_qp_ex_xrc_send",
    "send_with_immediate": "test_qpex.QpExTestCase.test_qp_ex_xrc_send_imm",
    "extended_completion_queue": "test_cqex.CqExTestCase.test_xrc_traffic_cq_ex",
    "fetch_and_add": "test_atomic.AtomicTest.test_xrc_atomic_fetch_and_add",
    "compare_and_swap": "test_atomic.AtomicTest.test_xrc_atomic_cmp_and_swap",
    "relaxed_ordering": "test_relaxed_ordering.RoTestCase.test_ro_xrc_traffic",
}


def needs():
    if not (SHIPPED / "base.py.gz").exists():
        raise Skip("needs the tests of the package python3-pyverbs")


suite = Suite("pyverbs", Service(), needs=needs)


def unpack(folder):
    """The tests as a Python package."""
    package = pathlib.Path(folder, "tests")
    package.mkdir()
    for shipped in SHIPPED.iterdir():
        if shipped.name.endswith(".py.gz"):
            with gzip.open(shipped) as packed, open(package / shipped.stem, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        elif shipped.suffix == ".py":
            shutil.copy(shipped, package)


def passes(ctx, test):
    with tempfile.TemporaryDirectory(prefix="vrdma-pyverbs-") as folder:
        unpack(folder)
        ended = ctx.run(ctx.on("a"), PYTHON, "tests/run_tests.py", "-v", f"tests.{test}",
                        cwd=folder, timeout=50)
    check(ended.status == 0, f"exit status {ended.status}")
    equal(re.findall(r"^Ran (\d+) test", ended.output, re.MULTILINE), ["1"], "tests that ran")
    check("skipped" not in ended.output, "the test skipped itself")


for name, where in TESTS.items():
    suite.add(f"xrc_{name}", functools.partial(passes, test=where), timeout=60)
