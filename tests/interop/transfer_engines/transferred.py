"""What the two programs of this folder move, and how they look at it."""

import ctypes
import mmap

SIZE = 16 << 20
SIZES = (1, 8, 4096, 65_536, 1_000_003, 4 << 20, SIZE)
_GUARD = 4096
_UNIT = bytes(index * 7 % 251 for index in range(251 * 16))


def pattern(size):
    return (_UNIT * (size // len(_UNIT) + 1))[:size]


class Memory:
    """SIZE bytes of zeroes; `address` is where they are."""

    def __init__(self):
        self.pages = mmap.mmap(-1, SIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))

    def fill(self):
        self.pages[:] = pattern(SIZE)

    def clear(self):
        self.pages[:] = bytes(SIZE)

    def holds(self, size):
        """The pattern in the first `size` bytes, and nothing behind them."""
        return (self.pages[:size] == pattern(size)
                and not any(self.pages[size:size + _GUARD]))


def serve(lines, memory):
    """Answers `check` by what the whole memory holds; ends at `end` or with the input."""
    for line in lines:
        if line.strip() != "check":
            break
        print("right" if memory.holds(SIZE) else "wrong", flush=True)


def move(write, read, source, target):
    """Every size there and back. `write(size)` and `read(size)` raise when they fail."""
    source.fill()
    for size in SIZES:
        target.clear()
        write(size)
        read(size)
        if not target.holds(size):
            raise SystemExit(f"{size} bytes came back wrong")
    print(f"moved {sum(SIZES)} bytes each way, all right")
