"""What is encrypted comes back; what was changed in between, by even one byte, never does."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.age.file import encrypt
from tasks.age.keys import (
    HybridIdentity,
    Identity,
    Recipient,
    ScryptIdentity,
    ScryptRecipient,
    X25519Identity,
)
from tasks.errors import (
    ArmorError,
    HeaderError,
    HeaderMACError,
    KeyFormatError,
    NoMatchingIdentity,
    PayloadError,
)
from tests.conformance.crafting import CHUNK, opened

CLASSIC = [X25519Identity.generate() for _ in range(3)]
HYBRID = [HybridIdentity.generate() for _ in range(2)]
ALLOWED = (ArmorError, HeaderError, HeaderMACError, NoMatchingIdentity, PayloadError)
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 4 * CHUNK, 4 * CHUNK + 1, 8 * CHUNK, 777_777]


def sealed(plain: bytes, recipients: Sequence[Recipient], *, armored: bool = False) -> bytes:
    written = io.BytesIO()
    encrypt(io.BytesIO(plain), written, recipients, armored=armored)
    return written.getvalue()


@pytest.mark.parametrize("armored", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_every_recipient_opens_every_size(size: int, armored: bool) -> None:
    plain = os.urandom(size)
    groups: list[Sequence[X25519Identity | HybridIdentity]] = [CLASSIC, HYBRID]
    for identities in groups:
        data = sealed(plain, [identity.recipient() for identity in identities], armored=armored)
        for identity in identities:
            assert opened(data, identity) == plain


def test_passphrase_opens_its_file() -> None:
    data = sealed(b"ledger", [ScryptRecipient("pass phräse", work_factor=10)])
    assert opened(data, ScryptIdentity("pass phräse")) == b"ledger"


def test_the_usual_work_factor_is_the_default() -> None:
    data = sealed(b"ledger", [ScryptRecipient("secret words")])
    assert data.splitlines()[1].endswith(b" 18")
    assert opened(data, ScryptIdentity("secret words")) == b"ledger"


def test_length_is_what_the_format_says() -> None:
    """Nonce, the plaintext, a tag a chunk, one chunk at least."""
    for size in SIZES:
        data = sealed(bytes(size), [CLASSIC[0].recipient()])
        body = data.split(b"\n--- ")[1][44:]
        assert len(body) == 16 + size + 16 * max(1, -(-size // CHUNK))


def test_nothing_is_ever_the_same_twice() -> None:
    first, second = (sealed(b"ledger", [CLASSIC[0].recipient()]) for _ in range(2))
    assert first.splitlines()[1] != second.splitlines()[1]
    assert first[-38:] != second[-38:]


FORBIDDEN: dict[str, Callable[[], list[Recipient]]] = {
    "nobody": list,
    "classic and hybrid": lambda: [CLASSIC[0].recipient(), HYBRID[0].recipient()],
    "passphrase and key": lambda: [ScryptRecipient("a", 1), CLASSIC[0].recipient()],
    "hybrid and passphrase": lambda: [HYBRID[0].recipient(), ScryptRecipient("a", 1)],
    "two passphrases": lambda: [ScryptRecipient("a", 1), ScryptRecipient("b", 1)],
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_recipients_that_must_not_share_a_file(name: str) -> None:
    written = io.BytesIO()
    with pytest.raises(KeyFormatError, match="cannot encrypt") as caught:
        encrypt(io.BytesIO(b"ledger"), written, FORBIDDEN[name]())
    assert caught.value.hint
    assert written.getvalue() == b""


PLAIN = b"ledger of the practice " * 10
BINARY = sealed(PLAIN, [identity.recipient() for identity in CLASSIC])
ARMORED = sealed(PLAIN, [CLASSIC[0].recipient()], armored=True)
POST_QUANTUM = sealed(PLAIN, [HYBRID[0].recipient()])
SAMPLES: dict[str, tuple[bytes, Identity]] = {
    "binary": (BINARY, CLASSIC[1]),
    "armored": (ARMORED, CLASSIC[0]),
    "hybrid": (POST_QUANTUM, HYBRID[0]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_byte_counts(name: str) -> None:
    """Each byte of the file in turn, three changes each: nothing altered is ever accepted."""
    data, identity = SAMPLES[name]
    # In armor the very last line feed may be any white space.
    for place in range(len(data) - (name == "armored")):
        for change in (0x01, 0x20, 0x80):
            altered = bytearray(data)
            altered[place] ^= change
            with pytest.raises(ALLOWED):
                opened(bytes(altered), identity)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_beginning_of_a_file_is_accepted(name: str) -> None:
    data, identity = SAMPLES[name]
    # Armor may lack its very last line feed.
    for length in range(len(data) - (name == "armored")):
        with pytest.raises(ALLOWED):
            opened(data[:length], identity)


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(["binary", "hybrid"]))
def test_no_mutation_is_accepted(data: st.DataObject, name: str) -> None:
    """Pieces cut out, doubled, overwritten or put in anywhere."""
    original, identity = SAMPLES[name]
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 80)))
    piece = data.draw(st.one_of(st.binary(max_size=80), st.just(original[start:end] * 2)))
    mutated = original[:start] + piece + original[end:]
    if mutated == original:
        assert opened(mutated, identity) == PLAIN
        return
    with pytest.raises(ALLOWED):
        opened(mutated, identity)


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_armor_is_refused_or_means_the_same(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(ARMORED)))
    end = data.draw(st.integers(start, min(len(ARMORED), start + 70)))
    piece = data.draw(st.one_of(st.binary(max_size=70), st.text("\r\n =A-", max_size=5).map(str.encode)))
    mutated = ARMORED[:start] + piece + ARMORED[end:]
    try:
        plain = opened(mutated, CLASSIC[0])
    except ALLOWED:
        return
    # The two liberties: CRLF line ends, and white space around the whole.
    assert mutated.strip().replace(b"\r\n", b"\n") == ARMORED.strip()
    assert plain == PLAIN


@settings(max_examples=300)
@given(junk=st.binary(max_size=400))
@pytest.mark.parametrize("start", [b"", b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----\n"])
def test_junk_is_refused(start: bytes, junk: bytes) -> None:
    with pytest.raises(ALLOWED):
        opened(start + junk, CLASSIC[0])
