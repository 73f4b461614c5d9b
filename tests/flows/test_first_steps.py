"""The first steps, typed in a shell as README and `datasave init` print them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT, migrated_database
from tests.flows.site import counts
from tests.terminal import typed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="README's steps are for a shell; a terminal is asked"),
]
README = ROOT / "README.md"


class Person:
    """Somebody at a terminal, in an empty folder, with `datasave` on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "bin" / "datasave"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m deployments "$@"\n', "utf-8")
        program.chmod(0o755)
        home = folder / ".datasave" / "prefect"
        home.mkdir(parents=True)
        shutil.copy(migrated_database(), home / "prefect.db")

    def types(self, line: str, answers: Sequence[tuple[str, str]] = ()) -> str:
        """Type a line; what the screen showed. It must succeed."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "DATASAVE_"))
        }
        environment = {
            **kept,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "TZ": "America/New_York",
            "COLUMNS": "400",
        }
        status, shown = typed(["sh", "-c", f"cd '{self.folder}' && {line}"], answers, environment)
        assert status == 0 and "Traceback" not in shown, f"{line}\n{shown}"
        return shown


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def steps(heading: str) -> list[str]:
    """The lines of README's blocks below a heading, as a shell takes them."""
    chapter = README.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


def test_the_first_steps_of_readme(person: Person, clinic: Path) -> None:
    """Only what stands for something else is put in: two places, and the keys that were shown."""
    folder, rows = person.folder, counts(clinic)
    for name in ("srv", "nas", "usb"):
        (folder / name).mkdir()
    shutil.copy(clinic, folder / "srv" / "clinic.db")
    places = {
        "/srv/office/clinic.db": "srv/clinic.db",
        "/mnt/nas/datasave": "nas",
        "/media/usb/datasave": "nas",
        "/srv/restored": "restored",
        "serve --install --apply": "serve --install",
        "front-office-….tar.zst.age": "$(find nas -name '*.tar.zst.age')",
    }
    keys: list[str] = []
    lines = [*steps("First backup"), *steps("First restore")]
    assert len(lines) > 10
    for written in lines:
        line = put_in(written, places, keys)
        asked = [("Type its words", words_of(folder))] if " rescue " in line else []
        shown = person.types(line, asked)
        if line.startswith("datasave keys new"):
            keys += re.findall(r"age1[a-z0-9]+", shown)
    assert counts(folder / "restored" / "clinic.db") == rows
    assert (folder / "patients").is_dir() and (folder / "owner-sheet.html").exists()


def put_in(line: str, places: dict[str, str], keys: list[str]) -> str:
    """The line for this machine."""
    for place, here in places.items():
        line = line.replace(place, here)
    for key in keys if "age1…" in line else ():
        line = line.replace("age1…", key, 1)
    return line


def words_of(folder: Path) -> str:
    """The machine's ten words, as they stand on the printed sheet."""
    (sheet,) = folder.glob("owner-sheet.html")
    return re.findall(r'class="mark">([a-z]+(?:-[a-z]+){9})<', sheet.read_text("utf-8"))[0]


def printed(shown: str) -> list[str]:
    """The commands that `init` says come next."""
    return [line.strip() for line in shown.splitlines() if line.startswith("  datasave ")]


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_what_init_asks_and_prints(kind: str, person: Person, clinic: Path) -> None:
    folder = person.folder
    (folder / "letters").mkdir()
    (folder / "letters" / "one.txt").write_text("Dear patient", "utf-8")
    shutil.copy(clinic, folder / "clinic.db")
    for name in ("nas", "stick"):
        (folder / name).mkdir()
    shown = person.types(
        "datasave init",
        [
            ("What to back up", "nowhere.db"),
            ("There is no such file", "" if kind == "sqlite" else "letters"),
            ("Where do the backups go", "nas"),
            ("called [nas]", ""),
            ("Another place", ""),
            ("Who can open them", "Owner"),
            ("public key", ""),
            ("Folder for the key file", "stick"),
            ("Who else", "Bank safe"),
            ("public key", ""),
            ("Folder for the key file", "nowhere"),
            ("no such folder", "stick"),
            ("Who else", ""),
            ("every night", "25:00"),
            ("A time such as", "03:30"),
            ("time zone [America/New_York]", ""),
            ("Who is told", ""),
        ],
    )
    assert "Not met: At least two people are told how each run went." in shown
    assert "At least two people or safes hold a key" not in shown
    plan = (folder / "datasave.yaml").read_text("utf-8")
    assert '  backup: "30 3 * * *"' in plan and "  timezone: America/New_York" in plan
    commands = printed(shown)
    assert [command.split()[1] for command in commands] == [
        *("target", "doctor", "backup", "keys", "keys", "runbook", "serve")
    ]
    said = [person.types(command) for command in commands]
    assert "is backed up and proven at nas" in said[2]
    person.types("datasave restore --identity stick/bank-safe.key.txt --to back")
    if kind == "files":
        assert (folder / "back" / "one.txt").read_text("utf-8") == "Dear patient"
    else:
        assert counts(folder / "back" / "clinic.db") == counts(clinic)
