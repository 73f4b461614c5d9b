"""A stage in a thread of its own: everything in order, no failure lost, no thread left, little memory."""

from __future__ import annotations

import io
import threading
from queue import Queue
from typing import BinaryIO, cast

import pytest

from tasks.platform.relay import written_beside


class Recorder(io.RawIOBase):
    """Keeps what is written; fails from the piece of that number on."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.threads: set[int] = set()
        self.fails_at = fails_at

    @property
    def stream(self) -> BinaryIO:
        return cast(BinaryIO, self)

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        if len(self.pieces) == self.fails_at:
            raise OSError(28, "No space left on device")
        self.threads.add(threading.get_ident())
        self.pieces.append(data)
        return len(data)


def relays() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("relay")]


def test_pieces_arrive_in_order_from_one_other_thread() -> None:
    there, buffer = Recorder(), bytearray(2)
    with written_beside(there.stream) as stream:
        for number in range(300):
            buffer[:] = number.to_bytes(2, "big")
            assert stream.write(buffer) == 2  # the same buffer each time: what it held is kept
    assert there.pieces == [number.to_bytes(2, "big") for number in range(300)]
    assert threading.get_ident() not in there.threads and len(there.threads) == 1
    assert relays() == []


@pytest.mark.parametrize("fails_at", [0, 1, 5, 98, 99])
def test_a_failure_is_raised_and_nothing_goes_on(fails_at: int) -> None:
    there, after = Recorder(fails_at), Recorder()
    with (
        pytest.raises(OSError, match="No space left"),
        written_beside(there.stream) as inner,
        written_beside(inner) as stream,
    ):
        for _ in range(100):
            stream.write(b"piece")
        after.write(b"written all")
    assert len(there.pieces) == fails_at
    assert after.pieces == [] or fails_at > 80, "told long before the end"
    assert relays() == []


def test_what_the_block_raises_comes_through() -> None:
    there = Recorder()
    with pytest.raises(KeyboardInterrupt), written_beside(there.stream) as stream:
        stream.write(b"piece")
        raise KeyboardInterrupt
    assert relays() == []


def test_who_writes_waits_for_who_takes() -> None:
    """Else a slow disk would let the whole archive wait in memory."""
    gate, there = threading.Event(), Recorder()
    passed: Queue[int] = Queue()

    class Slow(Recorder):
        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            gate.wait()
            return there.write(data)

    def feed() -> None:
        with written_beside(Slow().stream) as stream:
            for number in range(20):
                stream.write(b"piece")
                passed.put(number)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert [passed.get() for _ in range(4)] == [0, 1, 2, 3]
    assert feeder.is_alive() and passed.empty()
    gate.set()
    feeder.join()
    assert len(there.pieces) == 20
