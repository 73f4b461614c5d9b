"""Identity files under a passphrase, both ways between this program and Debian's ``age``."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.age.file import encrypt
from tasks.age.keys import X25519Identity, is_protected, parse_recipient, protect, unprotect
from tasks.errors import KeyFormatError, NoMatchingIdentity
from tests.terminal import typed

PHRASE = "plenty umbrella øre seven"
SECRET_MARK = "AGE-SECRET-KEY-1"
PROGRAM = [sys.executable, "-m", "deployments"]
Captured = pytest.CaptureFixture[str]


def sealed_for(recipient: str, path: Path, plain: bytes = b"patients") -> Path:
    with path.open("wb") as stream:
        encrypt(io.BytesIO(plain), stream, [parse_recipient(recipient)])
    return path


def recipient_shown(text: str) -> str:
    return next(word for word in text.split() if word.startswith("age1"))


def test_stock_age_opens_with_a_protected_key_of_ours(tmp_path: Path) -> None:
    """Made by typing the passphrase twice; stock age asks for it, and opens what was sealed for it."""
    key = tmp_path / "owner.key.txt"
    making = [*PROGRAM, "keys", "new", "--holder", "Owner", "--passphrase", "--out", str(key)]
    status, shown = typed(making, [("not shown): ", PHRASE), ("same again: ", PHRASE)])
    assert status == 0, shown
    assert PHRASE not in shown
    assert SECRET_MARK.encode() not in key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    sealed = sealed_for(recipient_shown(shown), tmp_path / "data.age")
    out = tmp_path / "data"
    opening = ["age", "-d", "-i", str(key), "-o", str(out), str(sealed)]
    status, shown = typed(opening, [("passphrase", PHRASE)])
    assert status == 0, shown
    assert out.read_bytes() == b"patients"
    status, shown = typed(opening, [("passphrase", "another")])
    assert status != 0


def test_a_key_protected_by_stock_age_is_asked_for_here(tmp_path: Path) -> None:
    plain, key = tmp_path / "plain.txt", tmp_path / "key.age"
    subprocess.run(["age-keygen", "-o", str(plain)], check=True, capture_output=True)
    status, shown = typed(
        ["age", "-p", "-o", str(key), str(plain)],
        [("Enter passphrase", PHRASE), ("Confirm passphrase", PHRASE)],
    )
    assert status == 0, shown
    page = tmp_path / "sheet.html"
    command = [*PROGRAM, "keys", "sheet", "--identity", str(key), "--out", str(page)]
    status, shown = typed(command, [("Passphrase for", "wrong")])
    assert status == 1
    assert f"the passphrase does not open {key}" in " ".join(shown.split())
    assert "Traceback" not in shown
    assert not page.exists()
    status, shown = typed(command, [("Passphrase for", PHRASE)])
    assert status == 0, shown
    assert "Public key" in page.read_text("utf-8")


def test_a_passphrase_is_added_changed_and_removed(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "owner.key.txt"
    monkeypatch.setenv("FIRST", "first phrase")
    monkeypatch.setenv("SECOND", "second phrase")
    assert cli.main(["keys", "new", "--holder", "Owner", "--out", str(key)]) == 0
    before = key.read_bytes()
    protecting = ["keys", "protect", "--identity", str(key)]
    assert cli.main([*protecting, "--new-passphrase-from", "env:FIRST"]) == 0
    assert is_protected(key.read_bytes())
    assert unprotect(key.read_bytes(), "first phrase") == before
    change = ["--passphrase-from", "env:FIRST", "--new-passphrase-from", "env:SECOND"]
    assert cli.main([*protecting, *change]) == 0
    with pytest.raises(NoMatchingIdentity):
        unprotect(key.read_bytes(), "first phrase")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert cli.main([*protecting, "--remove", "--passphrase-from", "env:SECOND"]) == 0
    assert key.read_bytes() == before
    shown = capsys.readouterr()
    assert "phrase" not in (shown.out + shown.err).replace("passphrase", "")


@pytest.mark.parametrize("given", ["open sesame", "sesame"])
def test_a_passphrase_in_the_arguments_is_refused_unquoted(
    tmp_path: Path, capsys: Captured, given: str
) -> None:
    key = tmp_path / "owner.key.txt"
    assert cli.main(["keys", "new", "--holder", "O", "--out", str(key), "--passphrase-from", given]) == 1
    shown = capsys.readouterr()
    assert "never the passphrase itself" in shown.err
    assert "sesame" not in shown.out + shown.err
    assert not key.exists()


def test_passphrases_that_differ_make_no_key(tmp_path: Path) -> None:
    making = [*PROGRAM, "keys", "new", "--holder", "Owner", "--passphrase", "--out", str(tmp_path / "key")]
    status, shown = typed(making, [("not shown): ", "one"), ("same again: ", "other")])
    assert status == 1
    assert "the two passphrases differ" in shown
    assert not (tmp_path / "key").exists()


def test_without_a_terminal_it_says_where_the_passphrase_may_be(tmp_path: Path) -> None:
    key = tmp_path / "key.age"
    key.write_bytes(protect(X25519Identity.generate().secret_text(), PHRASE))
    done = subprocess.run(
        [*PROGRAM, "restore", "--folder", str(tmp_path), "-i", str(key), "--to", str(tmp_path / "new")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "--passphrase-from env:NAME" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_passphrase_protects_nothing() -> None:
    with pytest.raises(KeyFormatError):
        protect("AGE-SECRET-KEY-1", "")
