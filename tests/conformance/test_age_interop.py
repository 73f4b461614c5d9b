"""Both directions against the stock `age` and `age-keygen` programs, which must be installed."""

from __future__ import annotations

import io
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from tasks.age.file import decrypt, decrypting_reader, encrypt
from tasks.age.keys import (
    ScryptIdentity,
    ScryptRecipient,
    X25519Identity,
    parse_identity_file,
    parse_recipient,
)
from tasks.errors import NoMatchingIdentity

SIZES = [0, 1, 65535, 65536, 65537, (1 << 20) + 1]
WORDS = "corner-lamp-ledger"


def program(name: str) -> str:
    """Path of a stock program; its absence fails the test, for then the promise is unproven."""
    path = shutil.which(name)
    assert path, f"{name} is not installed; the age package has it"
    return path


def run(*arguments: str | Path, data: bytes = b"") -> bytes:
    return subprocess.run(arguments, input=data, stdout=subprocess.PIPE, check=True, timeout=120).stdout


def run_at_terminal(arguments: Sequence[str | Path], answers: Sequence[str]) -> None:
    """Run a program that asks for a passphrase at its terminal, and answer each question in turn."""
    import fcntl
    import termios

    master, slave = os.openpty()
    child = subprocess.Popen(
        arguments,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        # age reads passphrases from the terminal that controls its session, never from stdin.
        preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(slave)
    try:
        for answer in answers:
            shown = b""
            while not shown.endswith(b": "):
                assert select.select([master], [], [], 30)[0], f"no question came, only {shown!r}"
                shown += os.read(master, 1)
            os.write(master, answer.encode() + b"\n")
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        os.close(master)


@pytest.fixture
def holder(tmp_path: Path) -> X25519Identity:
    """A key made by age-keygen, its file beside as key.txt."""
    run(program("age-keygen"), "-o", tmp_path / "key.txt")
    identity = parse_identity_file((tmp_path / "key.txt").read_text())[0]
    assert isinstance(identity, X25519Identity)
    return identity


def sealed(plain: bytes, *recipients: X25519Identity, armored: bool = False) -> bytes:
    written = io.BytesIO()
    encrypt(io.BytesIO(plain), written, [identity.recipient() for identity in recipients], armored=armored)
    return written.getvalue()


def opened(data: bytes, identity: X25519Identity | ScryptIdentity) -> bytes:
    plain = io.BytesIO()
    decrypt(io.BytesIO(data), plain, [identity])
    return plain.getvalue()


def test_keys_made_there_are_read_here(holder: X25519Identity, tmp_path: Path) -> None:
    text = run(program("age-keygen"), "-y", tmp_path / "key.txt").decode()
    assert parse_recipient(text) == holder.recipient()
    assert holder.secret_text() in (tmp_path / "key.txt").read_text()


def test_keys_made_here_are_read_there(tmp_path: Path) -> None:
    identity = X25519Identity.generate()
    (tmp_path / "own.txt").write_text(identity.secret_text() + "\n")
    assert run(program("age-keygen"), "-y", tmp_path / "own.txt").decode().strip() == str(
        identity.recipient()
    )


@pytest.mark.parametrize("armored", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_age_opens_ours(holder: X25519Identity, tmp_path: Path, size: int, armored: bool) -> None:
    plain = os.urandom(size)
    data = sealed(plain, holder, armored=armored)
    assert run(program("age"), "-d", "-i", tmp_path / "key.txt", data=data) == plain


@pytest.mark.parametrize("armored", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_we_open_theirs(holder: X25519Identity, size: int, armored: bool) -> None:
    plain = os.urandom(size)
    flags = ["-a"] if armored else []
    data = run(program("age"), *flags, "-r", str(holder.recipient()), data=plain)
    assert opened(data, holder) == plain


def test_several_recipients_both_ways(holder: X25519Identity, tmp_path: Path) -> None:
    others = [X25519Identity.generate() for _ in range(4)]
    everyone = [*others[:2], holder, *others[2:]]
    data = sealed(b"ledger", *everyone)
    assert run(program("age"), "-d", "-i", tmp_path / "key.txt", data=data) == b"ledger"
    recipients = [argument for one in everyone for argument in ("-r", str(one.recipient()))]
    theirs = run(program("age"), *recipients, data=b"ledger")
    for identity in everyone:
        assert opened(theirs, identity) == b"ledger"
    with pytest.raises(NoMatchingIdentity):
        opened(theirs, X25519Identity.generate())


def test_age_refuses_ours_when_cut(holder: X25519Identity, tmp_path: Path) -> None:
    data = sealed(os.urandom(100_000), holder)
    for cut in (1, 40_000, 100_000 - 65536 + 16):
        with pytest.raises(subprocess.CalledProcessError):
            run(program("age"), "-d", "-i", tmp_path / "key.txt", data=data[:-cut])


at_terminal = pytest.mark.skipif(
    os.name != "posix", reason="passphrases are typed at a POSIX pseudo-terminal"
)


@at_terminal
@pytest.mark.slow
@pytest.mark.parametrize("armored", [False, True])
def test_age_opens_our_passphrase(tmp_path: Path, armored: bool) -> None:
    source, result = tmp_path / "in.age", tmp_path / "out"
    with source.open("wb") as stream:
        encrypt(io.BytesIO(b"ledger"), stream, [ScryptRecipient(WORDS)], armored=armored)
    run_at_terminal([program("age"), "-d", "-o", result, source], [WORDS])
    assert result.read_bytes() == b"ledger"


@at_terminal
@pytest.mark.slow
@pytest.mark.parametrize("armored", [False, True])
def test_we_open_their_passphrase(tmp_path: Path, armored: bool) -> None:
    source, result = tmp_path / "in", tmp_path / "out.age"
    source.write_bytes(b"ledger")
    flags = ["-a"] if armored else []
    run_at_terminal([program("age"), *flags, "-p", "-o", result, source], [WORDS, WORDS])
    assert opened(result.read_bytes(), ScryptIdentity(WORDS)) == b"ledger"
    with pytest.raises(NoMatchingIdentity):
        opened(result.read_bytes(), ScryptIdentity(WORDS + "s"))


HUGE = (4 << 30) + 12_345
BLOCK = 1 << 20


class Zeros(io.RawIOBase):
    """``HUGE`` bytes of zero, made as they are read."""

    def __init__(self) -> None:
        super().__init__()
        self._left = HUGE
        self._block = bytes(BLOCK)

    def read(self, size: int = -1, /) -> bytes:
        data = self._block[: min(size if size >= 0 else BLOCK, self._left)]
        self._left -= len(data)
        return data


def assert_all_zeros(stream: BinaryIO) -> None:
    count, block = 0, bytes(BLOCK)
    while data := stream.read(BLOCK):
        assert data == block[: len(data)]
        count += len(data)
    assert count == HUGE


def pipe_through(arguments: Sequence[str | Path]) -> tuple[subprocess.Popen[bytes], BinaryIO, BinaryIO]:
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    return child, cast(BinaryIO, child.stdin), cast(BinaryIO, child.stdout)


@pytest.mark.long
def test_age_opens_ours_beyond_4_gib(holder: X25519Identity, tmp_path: Path) -> None:
    child, feed, result = pipe_through([program("age"), "-d", "-i", tmp_path / "key.txt"])

    def write() -> None:
        with feed:
            encrypt(cast(BinaryIO, Zeros()), feed, [holder.recipient()])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert_all_zeros(result)
        assert child.wait(60) == 0
    finally:
        child.kill()
        writer.join()
        result.close()


@pytest.mark.long
def test_we_open_theirs_beyond_4_gib(holder: X25519Identity) -> None:
    child, feed, result = pipe_through([program("age"), "-r", str(holder.recipient())])

    def write() -> None:
        with feed:
            shutil.copyfileobj(Zeros(), feed, BLOCK)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert_all_zeros(decrypting_reader(result, [holder]))
        assert child.wait(60) == 0
    finally:
        child.kill()
        writer.join()
        result.close()
