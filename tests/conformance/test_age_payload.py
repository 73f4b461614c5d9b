"""The payload's rules: what was cut, extended, reordered or altered never passes, nor leaves a file."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

import pytest
import zstandard

from tasks.age.file import decrypt, decrypting_reader, encrypt
from tasks.errors import AgeError, NoMatchingIdentity, PayloadError
from tests.conformance.crafting import CHUNK, HOLDER, NONCE, Dribble, header, opened, payload, x25519_stanza

HEAD = header(x25519_stanza())
FULL = os.urandom(CHUNK)
SIXTH = 6  # lies in the second batch that the reader handles

ACCEPTED = {
    "empty": [b""],
    "one byte": [b"x"],
    "one full chunk": [FULL],
    "full and short": [FULL, b"tail"],
    "two full": [FULL, FULL],
    "four full": [FULL] * 4,
    "nine and a bit": [FULL] * 9 + [b"tail"],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_hand_built_payload_opens(name: str) -> None:
    assert opened(HEAD + payload(*ACCEPTED[name])) == b"".join(ACCEPTED[name])


def altered(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


TWO = payload(FULL, b"tail")
LONG = payload(*[FULL] * 7, b"tail")
SEALED = CHUNK + 16

REFUSED = {
    "no chunk": NONCE,
    "less than a tag": NONCE + bytes(15),
    "tag of nothing": NONCE + bytes(16),
    "nonce altered": altered(TWO, 3),
    "first chunk altered": altered(TWO, 16 + 1000),
    "last chunk altered": altered(TWO, len(TWO) - 20),
    "tag altered": altered(TWO, len(TWO) - 1),
    "chunk of a later batch altered": altered(LONG, 16 + SIXTH * SEALED + 5),
    "one byte cut": TWO[:-1],
    "last chunk cut off": TWO[: 16 + SEALED],
    "last chunk cut to less than a tag": TWO[: 16 + SEALED + 9],
    "first chunk cut": TWO[: 16 + 400],
    "cut at the end of a batch": LONG[: 16 + 4 * SEALED],
    "no final chunk": payload(FULL, b"tail", finals=[False, False]),
    "only chunk not final": payload(b"tail", finals=[False]),
    "full only chunk not final": payload(FULL, finals=[False]),
    "empty only chunk not final": payload(b"", finals=[False]),
    "empty last chunk": payload(FULL, b""),
    "empty last chunk of a later batch": payload(*[FULL] * 4, b""),
    "one byte behind": TWO + b"\0",
    "garbage behind": TWO + bytes(300),
    "a chunk's length of garbage behind": payload(FULL) + bytes(SEALED),
    "garbage behind the last batch": payload(*[FULL] * 4) + bytes(40),
    "second file behind": TWO + HEAD + TWO,
    "short chunk in the middle": payload(b"short", FULL),
    "two final chunks": payload(FULL, FULL, finals=[True, True]),
    "final chunk in the middle": payload(FULL, b"tail", finals=[True, False]),
    "chunks swapped": NONCE
    + LONG[16 + SEALED : 16 + 2 * SEALED]
    + LONG[16 : 16 + SEALED]
    + LONG[16 + 2 * SEALED :],
    "chunk dropped": LONG[: 16 + SEALED] + LONG[16 + 2 * SEALED :],
    "chunk doubled": LONG[: 16 + SEALED] + LONG[16:],
}


@pytest.mark.parametrize("name", REFUSED)
def test_broken_payload_is_refused(name: str) -> None:
    with pytest.raises(PayloadError) as caught:
        opened(HEAD + REFUSED[name])
    assert caught.value.hint
    assert not caught.value.message.endswith(".")


def test_the_message_tells_cut_from_extended_from_damaged() -> None:
    with pytest.raises(PayloadError, match="cut short"):
        opened(HEAD + REFUSED["last chunk cut off"])
    with pytest.raises(PayloadError, match="added after its end"):
        opened(HEAD + payload(FULL) + bytes(40))
    with pytest.raises(PayloadError, match=r"damaged.*part 7\)"):
        opened(HEAD + REFUSED["chunk of a later batch altered"])


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("size", [1 << 12, 1 << 16, 1 << 20, -1])
def test_reader_never_ends_cleanly_on_a_broken_payload(name: str, size: int) -> None:
    """Every read either gives authentic bytes or raises; the error comes back at each later read."""
    reader = decrypting_reader(io.BytesIO(HEAD + REFUSED[name]), [HOLDER])
    released = b""
    with pytest.raises(PayloadError) as first:
        while True:
            data = reader.read(size)
            assert data, "an end of file was reported"
            released += data
    for _ in range(3):
        with pytest.raises(PayloadError) as later:
            reader.read(size)
        assert str(later.value) == str(first.value)
    assert (FULL * 8).startswith(released)


@pytest.mark.parametrize("size", [1, 1000, 65535, 65536, 65537, 1 << 18, 1 << 20, -1])
def test_reader_gives_everything_then_the_end(size: int) -> None:
    chunks = [FULL] * 2 + [b"tail"]
    reader = decrypting_reader(io.BytesIO(HEAD + payload(*chunks)), [HOLDER])
    plain = bytearray()
    while data := reader.read(size):
        if size > 0:
            assert len(data) == min(size, 2 * CHUNK + 4 - len(plain))
        plain += data
    assert plain == b"".join(chunks)
    assert reader.read(size) == b""


def test_reader_into_a_small_and_a_large_buffer() -> None:
    reader = cast(io.BufferedReader, decrypting_reader(io.BytesIO(HEAD + LONG), [HOLDER]))
    small, large = bytearray(10), bytearray(8 * CHUNK)
    assert reader.readinto(small) == 10
    assert reader.readinto(large) == 7 * CHUNK + 4 - 10
    assert small + large[: 7 * CHUNK + 4 - 10] == FULL * 7 + b"tail"
    assert reader.readinto(small) == 0


def test_reader_checks_the_header_at_once() -> None:
    with pytest.raises(NoMatchingIdentity):
        decrypting_reader(io.BytesIO(HEAD + TWO), [])


def test_reader_feeds_zstd_and_damage_comes_through() -> None:
    packed = zstandard.compress(os.urandom(5 * CHUNK))
    sealed = io.BytesIO()
    encrypt(io.BytesIO(packed), sealed, [HOLDER.recipient()])
    whole = decrypting_reader(io.BytesIO(sealed.getvalue()), [HOLDER])
    with zstandard.ZstdDecompressor().stream_reader(whole) as unpacked:
        assert len(unpacked.read()) == 5 * CHUNK
    broken = decrypting_reader(io.BytesIO(altered(sealed.getvalue(), 4 * CHUNK)), [HOLDER])
    with zstandard.ZstdDecompressor().stream_reader(broken) as unpacked, pytest.raises(PayloadError):
        unpacked.read()


class Failing(io.RawIOBase):
    """A network drive that goes away after ``good`` bytes, and then looks like an ended file."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__()
        self._source = io.BytesIO(data[:good])
        self._raised = False

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        if not data and not self._raised:
            self._raised = True
            raise OSError(5, "Input/output error")
        return data


@pytest.mark.parametrize("good", [len(HEAD) + 16 + 4 * SEALED, 300_000, 400_000])
def test_failing_medium_is_never_an_end_of_file(good: int) -> None:
    reader = decrypting_reader(cast(BinaryIO, Failing(HEAD + LONG, good)), [HOLDER])
    with pytest.raises(OSError, match="Input/output"):
        while reader.read(1000):
            pass
    with pytest.raises(PayloadError):
        while reader.read(1000):
            pass


def test_stream_in_non_blocking_mode_is_refused() -> None:
    class NothingYet(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes | None:
            return None

        def write(self, data: object, /) -> int | None:
            return None

    with pytest.raises(AgeError, match="non-blocking"):
        encrypt(cast(BinaryIO, NothingYet()), io.BytesIO(), [HOLDER.recipient()])
    with pytest.raises(AgeError, match="takes no data"):
        encrypt(io.BytesIO(b"x"), cast(BinaryIO, NothingYet()), [HOLDER.recipient()])


@pytest.mark.parametrize("armored", [False, True])
def test_short_reads_and_short_writes_lose_nothing(armored: bool) -> None:
    plain = os.urandom(CHUNK + 1234)
    sealed, unsealed = Dribble(), Dribble()
    encrypt(cast(BinaryIO, Dribble(plain)), cast(BinaryIO, sealed), [HOLDER.recipient()], armored=armored)
    decrypt(cast(BinaryIO, Dribble(bytes(sealed.taken))), cast(BinaryIO, unsealed), [HOLDER])
    assert unsealed.taken == plain
