"""Another header on the same payload: stock ``age`` still opens it, and who lost a holder's place can't."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.age.file import decrypt, encrypt, rewrapped
from tasks.age.keys import HybridIdentity, X25519Identity
from tasks.errors import HeaderMACError, KeyFormatError, NoMatchingIdentity

OLD, NEW, OTHER = (X25519Identity.generate() for _ in range(3))
CHUNK = 1 << 16


def sealed(plain: bytes, *identities: X25519Identity) -> bytes:
    out = io.BytesIO()
    encrypt(io.BytesIO(plain), out, [identity.recipient() for identity in identities])
    return out.getvalue()


def payload(data: bytes) -> bytes:
    """What follows the header's last line, which begins with three hyphens."""
    mark = data.index(b"\n--- ")
    return data[data.index(b"\n", mark + 1) + 1 :]


def opened(data: bytes, identity: X25519Identity | HybridIdentity) -> bytes:
    plain = io.BytesIO()
    decrypt(io.BytesIO(data), plain, [identity])
    return plain.getvalue()


@settings(max_examples=25)
@given(size=st.sampled_from([0, 1, CHUNK - 1, CHUNK, 5 * CHUNK + 3]), step=st.sampled_from([1000, 1 << 20]))
def test_only_the_header_changes(size: int, step: int) -> None:
    plain = bytes(range(256)) * (size // 256 + 1)
    old = sealed(plain[:size], OLD, OTHER)
    result = rewrapped(io.BytesIO(old), [OLD], [NEW.recipient(), OTHER.recipient(), OLD.recipient()])
    new = b"".join(iter(lambda: result.stream.read(step), b""))
    assert payload(new) == payload(old)
    assert len(new) == len(old) + result.grown
    for identity in (NEW, OTHER, OLD):
        assert opened(new, identity) == plain[:size]


def test_who_is_left_out_cannot_open_it_any_more() -> None:
    new = rewrapped(io.BytesIO(sealed(b"patients", OLD, OTHER)), [OTHER], [NEW.recipient()]).stream.read()
    assert opened(new, NEW) == b"patients"
    for identity in (OLD, OTHER):
        with pytest.raises(NoMatchingIdentity):
            opened(new, identity)


def test_a_stranger_cannot_do_it() -> None:
    with pytest.raises(NoMatchingIdentity):
        rewrapped(io.BytesIO(sealed(b"patients", OLD)), [NEW], [NEW.recipient()])


def test_a_header_that_was_altered_is_not_taken_over() -> None:
    old = sealed(b"patients", OLD, OTHER)
    mark = old.index(b"\n--- ") + 5
    # Another letter of base64: one of no such letter is no header at all.
    altered = old[:mark] + (b"B" if old[mark : mark + 1] == b"A" else b"A") + old[mark + 1 :]
    with pytest.raises((HeaderMACError, NoMatchingIdentity)):
        rewrapped(io.BytesIO(altered), [OLD], [NEW.recipient()])


def test_kinds_of_keys_are_not_mixed_here_either() -> None:
    both = [NEW.recipient(), HybridIdentity.generate().recipient()]
    with pytest.raises(KeyFormatError, match="mixed"):
        rewrapped(io.BytesIO(sealed(b"patients", OLD)), [OLD], both)


def test_from_classic_to_post_quantum_and_back() -> None:
    hybrid = HybridIdentity.generate()
    there = rewrapped(io.BytesIO(sealed(b"patients", OLD)), [OLD], [hybrid.recipient()]).stream.read()
    assert opened(there, hybrid) == b"patients"
    back = rewrapped(io.BytesIO(there), [hybrid], [NEW.recipient()]).stream.read()
    assert opened(back, NEW) == b"patients"


def test_stock_age_opens_what_was_sealed_anew(tmp_path: Path) -> None:
    """Made by stock age, its header exchanged here, opened by stock age with the new key alone."""
    plain = bytes(range(256)) * 1000
    key, file = tmp_path / "key.txt", tmp_path / "anew.age"
    made = subprocess.run(
        ["age", "-r", str(OLD.recipient())], input=plain, capture_output=True, check=True
    ).stdout
    file.write_bytes(rewrapped(io.BytesIO(made), [OLD], [NEW.recipient(), OTHER.recipient()]).stream.read())
    for identity in (NEW, OTHER):
        key.write_text(identity.secret_text() + "\n", "ascii")
        done = subprocess.run(["age", "-d", "-i", str(key), str(file)], capture_output=True, check=True)
        assert done.stdout == plain
    key.write_text(OLD.secret_text() + "\n", "ascii")
    refused = subprocess.run(["age", "-d", "-i", str(key), str(file)], capture_output=True, check=False)
    assert refused.returncode != 0
