"""What ransomware leaves in a folder, and what a practice's own files look like."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.health.trend import signs_of
from tasks.policy.file_signs import BLOCK, FileSigns, compare_files, extension_of, fits, is_noise
from tasks.records import CopiedFile

CHANCE = random.Random(5)
TEXT = b"Progress note: the patient reports fewer headaches since the last visit. "


def practice(folder: Path) -> None:
    """Letters, scans and tables as an office has them."""
    for number in range(12):
        (folder / f"letter-{number}.rtf").write_bytes(b"{\\rtf1 " + TEXT * 200 + b"}")
        (folder / f"scan-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + CHANCE.randbytes(9000))
        (folder / f"list-{number}.csv").write_bytes(TEXT * 300)
        with zipfile.ZipFile(folder / f"bill-{number}.docx", "w") as packed:
            packed.writestr("word/document.xml", TEXT * 50)


def look(folder: Path) -> FileSigns:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return signs_of(
        folder,
        [CopiedFile(path=p.relative_to(folder).as_posix(), bytes=p.stat().st_size, sha256="") for p in files],
    )


def overwrite(path: Path) -> None:
    path.write_bytes(CHANCE.randbytes(path.stat().st_size))


def encrypt_in_place(folder: Path) -> None:
    for path in folder.iterdir():
        overwrite(path)


def encrypt_heads(folder: Path) -> None:
    for path in folder.glob("*.docx"):
        with path.open("r+b") as stream:
            stream.write(CHANCE.randbytes(64))


def rename_all(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(path.with_name(f"{path.name}.k7f2x"))


def rename_some(folder: Path) -> None:
    for path in list(folder.glob("letter-*")):
        path.rename(path.with_name(f"{path.name}.lockbit"))


def leave_note(folder: Path) -> None:
    (folder / "HOW_TO_DECRYPT_FILES.txt").write_bytes(b"Pay.")


@pytest.mark.parametrize(
    ("attack", "signs"),
    [
        (encrypt_in_place, {"file headers", "noise"}),
        (encrypt_heads, {"file headers"}),
        (rename_all, {"file names"}),
        (rename_some, {"ransom names"}),
        (leave_note, {"ransom notes"}),
    ],
)
def test_attacks(tmp_path: Path, attack: Callable[[Path], None], signs: set[str]) -> None:
    practice(tmp_path)
    before = look(tmp_path)
    assert before.broken == before.notes == before.ransom == 0
    attack(tmp_path)
    found = compare_files([before], look(tmp_path))
    assert {sign for sign, _ in found} == signs
    assert "letter" not in str(found), "a file's name may be a patient's"


def test_a_usual_day_shows_nothing(tmp_path: Path) -> None:
    practice(tmp_path)
    before = look(tmp_path)
    assert compare_files([], before) == []
    for number in range(12, 20):
        (tmp_path / f"letter-{number}.rtf").write_bytes(b"{\\rtf1 " + TEXT * 100)
        (tmp_path / f"scan-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + CHANCE.randbytes(20_000))
    (tmp_path / "README.txt").write_bytes(b"how to install the printer")
    (tmp_path / "old.zip.enc").write_bytes(b"sent to the accountant")
    (tmp_path / "empty.pdf").touch()
    assert compare_files([before], look(tmp_path)) == []


def test_headers() -> None:
    assert fits(b"%PDF-1.7", "pdf")
    assert fits(b"", "pdf"), "an empty file was not encrypted"
    assert fits(b"\x93\x81", "pdf") is False
    assert fits(b"\x93\x81", "dat") is None
    assert fits(b"SQLite format 3\x00rest", "db")
    assert (extension_of("a.b.PDF"), extension_of(".profile"), extension_of("none")) == ("pdf", "", "")


def test_noise() -> None:
    assert is_noise(CHANCE.randbytes(BLOCK))
    assert is_noise(CHANCE.randbytes(BLOCK - 500) + bytes(500)), "a page that is not quite full"
    assert not is_noise((TEXT * 100)[:BLOCK])
    assert not is_noise(bytes(range(100)) * 40 + bytes(96))
    assert not is_noise(CHANCE.randbytes(BLOCK - 1)), "too short to tell"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("HOW_TO_DECRYPT.txt", True),
        ("_readme.txt", True),
        ("Restore-My-Files.txt", True),
        ("RECOVER-FILES.html", True),
        ("readme.txt", False),
        ("How to print.docx", False),
        ("restore plan 2026.doc", False),
        ("RECOVER.md", False),
    ],
)
def test_notes(tmp_path: Path, name: str, note: bool) -> None:
    (tmp_path / name).write_bytes(b"-")
    assert look(tmp_path).notes == note
