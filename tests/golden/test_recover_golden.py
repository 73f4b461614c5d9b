"""RECOVER.md as it lies on a target."""

from __future__ import annotations

import re

import pytest

from tasks.manifests.recover_page import ANY_ENGINE, RestoreText, recover_text
from tests.golden.goldens import same_as_golden

SQLITE = RestoreText("sqlite", "Copy `restored/clinic.db` to where the program expects it.")
SECRET_LIKE = re.compile(
    r"AGE-SECRET-KEY|BEGIN [A-Z ]*PRIVATE KEY|password\s*[:=]|[A-Za-z0-9+/_-]{43,}", re.I
)


def test_recover_page() -> None:
    text = recover_text({"clinic": SQLITE}, ["Owner", "Bank safe\n(Zürich)"])
    same_as_golden("recover/RECOVER.md", text.encode("utf-8"))


def test_a_page_for_several_sources() -> None:
    text = recover_text(
        {"clinic": SQLITE, "clinic.programs": RestoreText("files", "Copy them back.")}, ["Owner"]
    )
    assert 'data of "clinic" and "clinic.programs" back' in text
    assert "(sqlite, files)" in text
    assert "once for each source" in text
    assert "### clinic.programs\n\nCopy them back." in text
    assert "once for each source" not in recover_text({"clinic": SQLITE}, ["Owner"])


def test_no_secret_like_text() -> None:
    text = recover_text({"clinic": RestoreText("postgres")}, ["Owner"])
    assert not SECRET_LIKE.search(text)
    assert SECRET_LIKE.search("AGE-SECRET-KEY-1QQQQ")
    assert SECRET_LIKE.search("password: hunter2")


def test_unknown_engine_gets_the_general_text() -> None:
    assert ANY_ENGINE in recover_text({"clinic": RestoreText("postgres")}, ["Owner"])
    assert ANY_ENGINE not in recover_text({"clinic": SQLITE}, ["Owner"])


def test_every_command_line_appears_for_every_system() -> None:
    text = recover_text({"clinic": SQLITE}, ["Owner"])
    for needed in (
        "winget install --id FiloSottile.age",
        "brew install age zstd",
        "sudo apt install age zstd",
        "age -d -i key.txt -o backup.tar.zst backup.tar.zst.age",
        "age -d -i key.txt backup.tar.zst.age | zstd -d -c | tar -xf - -C restored",
        "Get-FileHash -Algorithm SHA256",
        "datasave restore",
    ):
        assert needed in text


def test_a_page_without_holders_is_refused() -> None:
    with pytest.raises(ValueError, match="those who hold a key"):
        recover_text({"clinic": SQLITE}, [])
