"""cmake --install puts everything into its place, below any prefix, and what is installed works
without the build tree."""

import re
import shutil
import subprocess

from harness.suite import Service, Suite, check, contains, equal

suite = Suite("install", Service(installed=True))

PABIS = (34, 57, 59, 64, 65)


def files_below(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*")
                  if path.is_file())


def library_directory(ctx):
    """lib or lib/x86_64-linux-gnu, as the build was configured."""
    cache = (ctx.places.build / "CMakeCache.txt").read_text(encoding="utf-8")
    return re.search(r"^CMAKE_INSTALL_LIBDIR:PATH=(.*)$", cache, re.MULTILINE)[1]


@suite.case()
def everything_is_in_its_place(ctx):
    files = files_below(ctx.places.staged())
    library = library_directory(ctx)
    expected = ["sbin/vrdmad", "bin/vrdma-run", "bin/vrdmactl", "bin/vrdma-perf",
                "bin/vrdma-doctor", f"{library}/libvrdma-preload.so", "etc/libibverbs.d/vrdma.driver",
                "etc/vrdma/vrdmad.toml.example", "lib/systemd/system/vrdmad.service",
                "lib/sysusers.d/vrdma.conf", "share/man/man8/vrdmad.8",
                "share/man/man1/vrdmactl.1", "share/man/man1/vrdma-perf.1",
                "share/man/man1/vrdma-doctor.1",
                "share/vrdma/nccl.conf"]
    expected += [f"{library}/libibverbs/libvrdma-rdmav{pabi}.so" for pabi in PABIS]
    print("\n".join(files))
    equal([name for name in expected if name not in files], [], "missing files")
    strangers = [name for name in files if name.endswith((".a", ".o", ".h")) or "gtest" in name]
    equal(strangers, [], "files that nobody needs")


@suite.case()
def files_name_the_prefix_they_are_in(ctx):
    stage = ctx.places.staged()
    driver = (stage / "etc/libibverbs.d/vrdma.driver").read_text(encoding="utf-8")
    equal(driver, f"driver {stage}/{library_directory(ctx)}/libibverbs/libvrdma\n", "vrdma.driver")
    unit = (stage / "lib/systemd/system/vrdmad.service").read_text(encoding="utf-8")
    contains(unit, f"ExecStart={stage}/sbin/vrdmad --config {stage}/etc/vrdma/vrdmad.toml\n")
    for name in ("bin/vrdma-run", "sbin/vrdmad"):
        check((stage / name).stat().st_mode & 0o111 == 0o111, name + " is not executable")


@suite.case(timeout=60)
def devinfo_and_pingpong_with_the_installed_programs(ctx):
    contains(ctx.succeeds(ctx.on("a"), "ibv_devinfo", "-v"), "PORT_ACTIVE (4)")
    contains(ctx.succeeds(ctx.on("a", "preload"), "ibv_devices"), "vrdma0")
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 50, "-c")


# Whatever the distribution: libraries that change their names with releases (libfmt) are not among them.
C_LIBRARY = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


@suite.case()
def what_a_tenant_installs_needs_few_libraries(ctx):
    stage = ctx.places.staged()
    library = stage / library_directory(ctx)
    cpp = C_LIBRARY | {"libstdc++.so.6"}
    for path, allowed in ((library / f"libibverbs/libvrdma-rdmav{PABIS[0]}.so",
                           C_LIBRARY | {"libibverbs.so.1"}),
                          (library / "libvrdma-preload.so", C_LIBRARY),
                          (stage / "bin/vrdma-run", cpp),
                          (stage / "bin/vrdma-perf", cpp | {"libibverbs.so.1"}),
                          (stage / "bin/vrdma-doctor", cpp | {"libibverbs.so.1"})):
        output = ctx.succeeds("readelf", "-d", path)
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output))
        equal(sorted(needed - allowed), [], f"libraries that {path.name} needs")


# What Ubuntu 22.04 has, the oldest that is supported; docs/containers.md says so.
NEWEST = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0),
          "IBVERBS": (1, 14)}


def newer_symbols(ctx, path, limits):
    """["arc4random@GLIBC_2.36", ...]: what the file needs of others and only newer ones have."""
    found = re.findall(r"\*UND\*\s+\S+\s+\(?(\w+?)_([0-9.]+|PRIVATE)\)?\s+(\S+)",
                       ctx.succeeds("objdump", "-T", path))
    check(found, f"objdump finds no versions in {path}")
    return [f"{name}@{family}_{version}" for family, version, name in found
            if version == "PRIVATE" or family not in limits or
            tuple(int(part) for part in version.split(".")) > limits[family]]


@suite.case()
def what_a_tenant_installs_runs_with_an_older_c_library(ctx):
    stage = ctx.places.staged()
    library = stage / library_directory(ctx)
    for path in (*(library / f"libibverbs/libvrdma-rdmav{pabi}.so" for pabi in PABIS),
                 library / "libvrdma-preload.so",
                 *(stage / "bin" / name for name in ("vrdma-run", "vrdma-perf", "vrdma-doctor"))):
        equal(newer_symbols(ctx, path, NEWEST), [], f"newer symbols that {path.name} needs")


@suite.case()
def newer_symbol_is_found_and_named(ctx):
    library = ctx.places.staged() / library_directory(ctx) / "libvrdma-preload.so"
    found = newer_symbols(ctx, library, {**NEWEST, "GLIBC": (2, 33)})
    check("dlsym@GLIBC_2.34" in found, f"dlsym is not among {found}")


@suite.case()
def manual_pages_and_help_exist(ctx):
    for program in ("bin/vrdma-run", "bin/vrdmactl", "bin/vrdma-perf", "bin/vrdma-doctor",
                    "sbin/vrdmad"):
        ctx.succeeds(ctx.places.staged() / program, "--help")
    if shutil.which("man"):
        for page in ("man8/vrdmad.8", "man1/vrdmactl.1", "man1/vrdma-perf.1",
                     "man1/vrdma-doctor.1"):
            done = subprocess.run(["man", "--warnings", "-l", "-Tutf8",
                                   ctx.places.staged() / "share/man" / page],
                                  capture_output=True, text=True, check=False)
            equal((done.returncode, done.stderr), (0, ""), "man " + page)


@suite.case()
def destdir_goes_in_front_of_the_prefix(ctx):
    root = ctx.places.scratch / "destdir"
    ctx.succeeds("env", f"DESTDIR={root}", "cmake", "--install", ctx.places.build, "--prefix",
                 "/opt/vrdma", timeout=60)
    files = files_below(root)
    check("opt/vrdma/etc/libibverbs.d/vrdma.driver" in files, f"no vrdma.driver in {files}")
    equal([name for name in files if not name.startswith("opt/vrdma/")], [], "strange places")
    contains((root / "opt/vrdma/etc/libibverbs.d/vrdma.driver").read_text(encoding="utf-8"),
             "driver /opt/vrdma/")
