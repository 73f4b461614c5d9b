"""A stranger's names on the terminal: whatever they hold, they steer nothing and fake no line."""

from __future__ import annotations

import io
import logging
import shutil
import sqlite3
import sys
import unicodedata
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli import app as cli
from deployments.cli import screen
from deployments.cli.demo_clinic import make_clinic
from deployments.serving.environment import SETTINGS
from deployments.serving.terminal import Terminal
from tasks.errors import TargetError
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.signing import sign_record
from tasks.records import Finding, Holder
from tests.contract.target_contract import put
from tests.flows.nights import night
from tests.flows.site import Site
from tests.unit.manifests.shelves import SEALED, STRANGER, TAKEN, manifest

# An escape sequence, its one-byte twin, the clipboard, a reversed reading, a line of its own, markup.
HOSTILE = "a\x1b[2J\x9b31m\x1b]52;c;eA==\x07\u202egnp\u2066\n✓ all good [red]b[/red]\r\x08\x00"
STEERING = {"Cc", "Cf", "Zl", "Zp"}
LOG_HANDLER = SETTINGS["PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"]
FIRST = datetime(2026, 11, 23, 2, tzinfo=UTC)


def steering(text: str) -> set[str]:
    return {ascii(char) for char in text if char != "\n" and unicodedata.category(char) in STEERING}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An office whose database has a hostile table, and whose target holds hostile names and manifests."""
    root = tmp_path_factory.mktemp("hostile")
    make_clinic(root / "clinic.db", 100_000, wal=False)
    table = HOSTILE.replace("\x00", "").replace('"', "")
    with closing(sqlite3.connect(root / "clinic.db")) as database, database:
        database.execute(f'CREATE TABLE "{table}" (x)')
    site = Site.make(root, ["nas"])
    night(site, FIRST)
    facts = {
        "engine_version": HOSTILE,
        "kind": HOSTILE,
        "recipients": (Holder(name=HOSTILE, recipient="age1qqqq"),),
        "checks": (Finding(check=HOSTILE, passed=False, detail=HOSTILE, unchecked=True),),
        "marks": (HOSTILE,),
    }
    with site.context.target("nas") as target:
        for number, key in ((9, STRANGER), (8, site.context.machine_key())):
            record = sign_record(manifest(number, TAKEN + timedelta(days=number - 9), **facts), key)
            put(target, record.sealed_name, SEALED)
            put(target, manifest_name(record.sealed_name.removesuffix(".tar.zst.age")), to_json(record))
    for name in (f"clinic-{HOSTILE}.tar.zst.age", f"{HOSTILE}.manifest.json"):
        (root / "nas" / name.replace("/", "").replace("\x00", "")).write_bytes(b"x")
    return site


COMMANDS = {
    "list": ["list"],
    "status": ["status"],
    "doctor": ["doctor"],
    "journal": ["journal"],
    "prune": ["prune"],
    "repair": ["repair"],
    "opens": ["keys", "opens", "Owner"],
    "posture": ["posture"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_s6_no_command_hands_on_what_steers(
    hostile: Site, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile.run(*command)
    said = capsys.readouterr()
    assert said.out + said.err
    assert not steering(said.out + said.err)
    assert not any(line.startswith("✓ all good") for line in (said.out + said.err).splitlines())


def test_s6_nor_do_a_rescue_and_a_restore(
    hostile: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    shutil.copytree(hostile.root / "nas", "nas")
    key = ("-i", str(hostile.keys[0]))
    assert cli.main(["rescue", "nas", "--list"]) == 0
    assert cli.main(["rescue", "nas", *key]) == 1
    assert cli.main(["rescue", "nas", *key, *hostile.signer, "--backup", "8"]) == 1
    assert (
        cli.main(["restore", "--folder", "nas", *key, *hostile.signer, "--backup", "1", "--to", "new"]) == 0
    )
    said = capsys.readouterr()
    assert "[U+001B]" in said.out, "the table is named"
    assert not steering(said.out + said.err)


def test_s6_a_message_fakes_no_line_and_no_style(capsys: pytest.CaptureFixture[str]) -> None:
    screen.bad(TargetError(f"cannot reach {HOSTILE}", hint=HOSTILE))
    screen.warning(HOSTILE)
    screen.say(HOSTILE)
    screen.good(HOSTILE)
    screen.path_line("Open:", Path(HOSTILE.replace("\x00", "")))
    screen.verbatim(HOSTILE)
    said = capsys.readouterr()
    assert not steering(said.out + said.err)
    assert "\n✓ all good" not in said.err
    assert said.out.count("[red]b[/red]") == 4


def test_s6_on_a_terminal_only_its_own_colours_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Terminal()
    console.file = io.StringIO()
    shown = screen.table(HOSTILE, (HOSTILE, "b"), fold=True)
    shown.add_row("[green]ok[/green]", screen.escape(HOSTILE))
    console.print(shown)
    text = console.file.getvalue()
    assert "\x1b[" in text and "[U+001B]" in text
    assert not steering(text.replace("\x1b", "")) and "\x1b[2J" not in text and "\x1b]" not in text


def test_s6_progress_is_cleaned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Terminal(stderr=True)
    console.file = io.StringIO()
    console._force_terminal = True
    monkeypatch.setattr(screen, "err", console)
    with screen.steps() as progress:
        progress(f"restore {HOSTILE}", 1, 2)
    text = console.file.getvalue()
    assert "restore a" in text and "\x1b]52" not in text and "\x9b" not in text and "\u202e" not in text


def test_s6_prefects_log_is_cleaned_too() -> None:
    """As ``serve`` and ``worker`` show it, a traceback with it."""
    from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH, load_logging_config

    from deployments.serving.console_log import CleanHandler

    settings = load_logging_config(DEFAULT_LOGGING_SETTINGS_PATH)
    assert settings["handlers"]["console"]["class"] == LOG_HANDLER
    assert f"{CleanHandler.__module__}.{CleanHandler.__name__}" == LOG_HANDLER
    shown = io.StringIO()
    error = TargetError(HOSTILE)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, HOSTILE, (), (TargetError, error, None))
    CleanHandler(stream=shown).emit(record)
    assert not steering(shown.getvalue()) and "TargetError" in shown.getvalue()
