"""A stock Debian kernel: downloaded with apt, unpacked, never installed.

Of the package we keep what boots and what the guest loads: vmlinux, taken out of the bzImage
because QEMU starts an ELF kernel by its PVH note without firmware and decompressor (5 s sooner
under emulation), and the modules named below with all they depend on. The generic flavour is
needed: the cloud flavour has no rdma_rxe."""

import dataclasses
import hashlib
import lzma
import pathlib
import re
import shutil
import struct
import subprocess

PACKAGE = "linux-image-amd64"

# Loaded by the guest's init, in this order. rdma_rxe asks the kernel for "crc32" and fails with "No
# such file or directory" where no implementation is loaded.
BOOT_MODULES = ("virtio_pci", "virtio_console", "virtio_net", "crc32_generic", "ib_uverbs",
                "rdma_ucm", "rdma_rxe")
# There for modprobe: loss, as tc makes it.
OTHER_MODULES = ("sch_netem", "sch_prio", "sch_ingress", "cls_u32", "cls_matchall", "act_mirred",
                 "ifb")

# Not even unpacked.
UNNEEDED = ("sound", "drivers/gpu", "drivers/media", "drivers/scsi", "drivers/usb",
            "drivers/staging", "drivers/iio", "drivers/hwmon", "drivers/input")


class KernelFailed(Exception):
    pass


@dataclasses.dataclass
class Kernel:
    version: str
    vmlinux: pathlib.Path
    modules: pathlib.Path  # a folder like /lib/modules/VERSION, with depmod's files
    boot_modules: list  # paths relative to `modules`, in the order in which to load them


def _run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise KernelFailed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
    return done.stdout


def _candidate():
    """(package, SHA256 of its file) of today's kernel in apt's lists."""
    depends = _run("apt-cache", "depends", PACKAGE)
    match = re.search(r"Depends: (linux-image-(\S+))", depends)
    if match is None:
        raise KernelFailed(f"apt-cache depends {PACKAGE} names no kernel:\n{depends}")
    shown = _run("apt-cache", "show", "--no-all-versions", match[1])
    digest = re.search(r"^SHA256: (\w+)$", shown, re.MULTILINE)
    if digest is None:
        raise KernelFailed(f"apt-cache show {match[1]} names no file:\n{shown}")
    return match[1], digest[1]


def candidate():
    try:
        return _candidate()
    except KernelFailed:  # an image of Debian without package lists
        _run("apt-get", "-q", "update", timeout=120)
        return _candidate()


def get(folder):
    """The kernel, unpacked below `folder` when it is not there yet."""
    package, digest = candidate()
    contents = repr((digest, BOOT_MODULES, OTHER_MODULES, UNNEEDED))
    wanted = hashlib.sha256(contents.encode()).hexdigest()[:12]
    version = package.removeprefix("linux-image-")
    place = folder / f"kernel-{version}-{wanted}"
    if not place.exists():
        for old in folder.glob("kernel-*"):
            shutil.rmtree(old)
        _unpack(package, version, place)
    modules = place / "lib/modules" / version
    order = (place / "boot_modules").read_text(encoding="ascii").split()
    return Kernel(version, place / "vmlinux", modules, order)


def _unpack(package, version, place):
    work = place.with_name(place.name + ".new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    # apt's own user must not be asked to write into our folder.
    _run("apt-get", "download", "-o", "APT::Sandbox::User=root", package, cwd=work, timeout=300)
    (package_file, ) = work.glob("*.deb")
    _run("sh", "-c", 'deb=$1; shift; dpkg-deb --fsys-tarfile "$deb" | tar -x "$@"', "sh",
         package_file, *[f"--exclude=./lib/modules/*/kernel/{name}" for name in UNNEEDED],
         "--wildcards", "./boot/vmlinuz-*", "./lib/modules/*", cwd=work)
    package_file.unlink()
    bzimage = work / "boot" / f"vmlinuz-{version}"
    (work / "vmlinux").write_bytes(extract_vmlinux(bzimage.read_bytes()))
    shutil.rmtree(work / "boot")
    boot = _keep_closure(work, version)
    (work / "boot_modules").write_text("\n".join(boot) + "\n", encoding="ascii")
    work.rename(place)


def extract_vmlinux(image):
    """The ELF kernel inside a bzImage (Linux Documentation/arch/x86/boot.rst: payload_offset)."""
    if image[0x202:0x206] != b"HdrS":
        raise KernelFailed("not a bzImage: there is no boot protocol header")
    setup_sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start:start + length]
    if not payload.startswith(b"\xfd7zXZ\0"):
        raise KernelFailed(f"the kernel is not packed with xz but starts with {payload[:6].hex()}")
    # The payload ends with the unpacked size, which is not part of the xz stream.
    kernel = lzma.LZMADecompressor().decompress(payload)
    if not kernel.startswith(b"\x7fELF"):
        raise KernelFailed("what the bzImage contains is not an ELF file")
    return kernel


def _keep_closure(root, version):
    """Removes the modules that nobody asked for; the boot modules' paths in loading order."""
    modules = root / "lib/modules" / version
    _run("depmod", "-b", root, version)
    needs = {}
    for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {pathlib.PurePath(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    built_in = {
        pathlib.PurePath(line).stem.replace("-", "_")
        for line in (modules / "modules.builtin").read_text(encoding="ascii").splitlines()
    }

    def closure(names):
        order = []
        for name in names:
            if name in built_in:
                continue
            if name not in by_name:
                raise KernelFailed(f"kernel {version} has no module {name}")
            # modules.dep names what has to be loaded from the last to the first.
            for path in [*reversed(needs[by_name[name]]), by_name[name]]:
                if path not in order:
                    order.append(path)
        return order

    boot = closure(BOOT_MODULES)
    kept = set(boot) | set(closure(OTHER_MODULES))
    for path in needs:
        if path not in kept:
            (modules / path).unlink()
    _run("depmod", "-b", root, version)
    return boot
