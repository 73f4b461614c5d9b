"""Post-quantum recipients against files made by another implementation.

vectors/hybrid.age was made once with the npm package age-encryption 0.3.1 (typage), for two recipients of
which the second is the identity beside it; hybrid-armored.age is the same file in its ASCII form. The
identity was made for this purpose and protects nothing.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tasks.age.buffering import Feed, buffered
from tasks.age.file import decrypt, encrypt
from tasks.age.header import read_header
from tasks.age.keys import HybridIdentity, parse_identity, parse_identity_file, parse_recipient
from tasks.errors import NoMatchingIdentity

VECTORS = Path(__file__).parent / "vectors"
PLAIN = b"Hybrid vector: 2 drives, 1 cloud, 0 open questions.\n"
IDENTITY = parse_identity((VECTORS / "hybrid.identity").read_text())
RECIPIENT_TEXT = (VECTORS / "hybrid.recipient").read_text().strip()


@pytest.mark.parametrize("name", ["hybrid.age", "hybrid-armored.age"])
def test_file_of_another_implementation_opens(name: str) -> None:
    plain = io.BytesIO()
    decrypt(io.BytesIO((VECTORS / name).read_bytes()), plain, [HybridIdentity.generate(), IDENTITY])
    assert plain.getvalue() == PLAIN


def test_file_of_another_implementation_stays_shut_to_a_stranger() -> None:
    with pytest.raises(NoMatchingIdentity):
        decrypt(io.BytesIO((VECTORS / "hybrid.age").read_bytes()), io.BytesIO(), [HybridIdentity.generate()])


def test_recipient_is_derived_as_the_other_implementation_does() -> None:
    assert str(IDENTITY.recipient()) == RECIPIENT_TEXT
    assert parse_recipient(RECIPIENT_TEXT) == IDENTITY.recipient()


def test_identity_text_comes_back() -> None:
    text = (VECTORS / "hybrid.identity").read_text()
    assert [key.secret_text() for key in parse_identity_file(text)] == [text.strip()]


def test_our_stanza_has_the_shape_of_theirs() -> None:
    written = io.BytesIO()
    encrypt(io.BytesIO(PLAIN), written, [parse_recipient(RECIPIENT_TEXT)])
    ours = read_header(buffered(Feed(io.BytesIO(written.getvalue()))))
    with (VECTORS / "hybrid.age").open("rb") as stream:
        theirs = read_header(stream)
    for stanza in (*ours.stanzas, *theirs.stanzas):
        assert stanza.args[0] == "mlkem768x25519"
        assert [len(argument) for argument in stanza.args[1:]] == [1494]  # 1120 bytes in base64
        assert len(stanza.body) == 32
    plain = io.BytesIO()
    decrypt(io.BytesIO(written.getvalue()), plain, [IDENTITY])
    assert plain.getvalue() == PLAIN
