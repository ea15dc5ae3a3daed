"""An MPI program (mpi4py) that knows what every byte must be: `verify.py PART`. Rank 0 prints
"PART: every value right"; a rank that finds another value ends the whole job with status 1."""

import random
import sys
from array import array

from mpi4py import MPI

WORLD = MPI.COMM_WORLD
RANK = WORLD.rank
RANKS = WORLD.size
# Both sides of UCX's limits for short, copied and zero-copy messages, and of rendezvous.
SIZES = (0, 1, 8, 95, 96, 4096, 8255, 8256, 65536, 1 << 20, (4 << 20) + 1)


def pattern(*seed, size):
    return random.Random(repr(seed)).randbytes(size)


def expect(found, expected, what):
    if found == expected:
        return
    if isinstance(found, (bytes, bytearray)):
        at = next((i for i, pair in enumerate(zip(found, expected)) if pair[0] != pair[1]),
                  min(len(found), len(expected)))
        what += (f": {len(found)} bytes, expected {len(expected)}, the first wrong one is {at}: "
                 f"{bytes(found[at:at + 8]).hex()}, expected {bytes(expected[at:at + 8]).hex()}, "
                 f"{sum(a != b for a, b in zip(found, expected))} are wrong")
    else:
        what += f": {found!r}, expected {expected!r}"
    print(f"rank {RANK}: {what}", file=sys.stderr, flush=True)
    WORLD.Abort(1)


def point_to_point():
    to, source = (RANK + 1) % RANKS, (RANK - 1) % RANKS
    for size in SIZES:
        room = bytearray(size)
        WORLD.Sendrecv(pattern(RANK, size=size), to, 1, room, source, 1)
        expect(bytes(room), pattern(source, size=size), f"message of {size} bytes")
    # Many at a time, received in the opposite order: half of them before anybody waits for them.
    count, size = 64, 3000
    sends = [WORLD.Isend(pattern(RANK, i, size=size), to, i) for i in range(count)]
    rooms = [bytearray(size) for _ in range(count)]
    receives = [WORLD.Irecv(rooms[i], source, i) for i in reversed(range(count))]
    MPI.Request.Waitall(sends + receives)
    for i in range(count):
        expect(bytes(rooms[i]), pattern(source, i, size=size), f"message {i} of {count}")


def collectives():
    for size in (1, 4096, 1 << 20):
        for root in range(RANKS):
            room = bytearray(pattern("bcast", size=size) if RANK == root else size)
            WORLD.Bcast(room, root)
            expect(bytes(room), pattern("bcast", size=size), f"bcast of {size} bytes")
    for count in (1, 1000, 100_000):
        room = array("q", bytes(8 * count))
        WORLD.Allreduce(array("q", (RANK * 7 + i for i in range(count))), room)
        base = 7 * RANKS * (RANKS - 1) // 2
        expect(room, array("q", (base + RANKS * i for i in range(count))), f"allreduce of {count}")
    for size in (8, 4096, 100_000):
        room = bytearray(size * RANKS)
        WORLD.Alltoall(b"".join(pattern(RANK, to, size=size) for to in range(RANKS)), room)
        expect(bytes(room), b"".join(pattern(source, RANK, size=size) for source in range(RANKS)),
               f"alltoall of {size} bytes")
        WORLD.Allgather(pattern(RANK, size=size), room)
        expect(bytes(room), b"".join(pattern(source, size=size) for source in range(RANKS)),
               f"allgather of {size} bytes")
    for _ in range(20):
        WORLD.Barrier()


def one_sided():
    size = 1 << 18
    window = MPI.Win.Allocate(size * RANKS, comm=WORLD)
    memory = window.tomemory()
    to = (RANK + 1) % RANKS
    memory[:] = bytes(size * RANKS)
    window.Fence()
    # Everybody writes his part of everybody's window. What is written must live until the fence.
    written = [pattern(RANK, target, size=size) for target in range(RANKS)]
    for target in range(RANKS):
        window.Put(written[target], target, (RANK * size, size, MPI.BYTE))
    window.Fence()
    for source in range(RANKS):
        expect(bytes(memory[source * size:(source + 1) * size]), pattern(source, RANK, size=size),
               f"put by {source}")
    room = bytearray(size * RANKS)
    window.Lock(to, MPI.LOCK_SHARED)
    window.Get(room, to)
    window.Unlock(to)
    expect(bytes(room), b"".join(pattern(source, to, size=size) for source in range(RANKS)), "get")
    WORLD.Barrier()
    window.Free()
    atomics(100)


def atomics(rounds):
    window = MPI.Win.Allocate(8 * 3, 8, comm=WORLD)
    memory = window.tomemory()
    memory[:] = bytes(24)
    WORLD.Barrier()
    window.Lock_all()
    one, old = array("q", [1]), array("q", [0])
    tickets = []
    for _ in range(rounds):
        window.Fetch_and_op(one, old, 0, 0, MPI.SUM)
        window.Flush(0)
        tickets.append(old[0])
    added = array("q", [RANK + 1] * 2)
    window.Accumulate(added, 0, (1, 2, MPI.LONG_LONG), MPI.SUM)
    window.Flush(0)
    every = sorted(sum(WORLD.allgather(tickets), []))
    expect(every, list(range(rounds * RANKS)), "fetch_and_op's tickets")
    # Passed from hand to hand: rank r may only take r to r + 1.
    mine, next_one = array("q", [rounds * RANKS + RANK]), array("q", [rounds * RANKS + RANK + 1])
    taken = array("q", [-1])
    while taken[0] != mine[0]:
        window.Compare_and_swap(next_one, mine, taken, 0, 0)
        window.Flush(0)
    WORLD.Barrier()
    window.Unlock_all()
    if RANK == 0:
        total = RANKS * (RANKS + 1) // 2
        expect(array("q", bytes(memory)), array("q", [rounds * RANKS + RANKS, total, total]),
               "the window after atomics")
    WORLD.Barrier()
    window.Free()


PARTS = {part.__name__: part for part in (point_to_point, collectives, one_sided)}

if __name__ == "__main__":
    PARTS[sys.argv[1]]()
    WORLD.Barrier()
    if RANK == 0:
        print(f"{sys.argv[1]}: every value right, {RANKS} ranks", flush=True)
