"""A MariaDB dump of everything a database can hold: restored by RECOVER.md's own lines, compared by others.

The server is set as some are, and as no adapter may rely on: its own time zone, READ COMMITTED, odd modes.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.errors import ValidationError
from tasks.records import Finding
from tasks.sources.mariadb.compare import compare
from tasks.sources.mariadb.connection import private_connection
from tasks.sources.mariadb.copy import ends_in_order
from tasks.sources.mariadb.load import load_into
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import read_record
from tasks.sources.mariadb.scratch import words_for
from tasks.sources.mariadb.source import MariadbSource
from tests.contract.mariadb_everything import EVERYTHING, create_everything, independent_look
from tests.contract.mariadb_ledger import source_of
from tests.contract.source_contract import fresh
from tests.servers.mariadb import MariadbServer, mariadb_server

SETTINGS = (
    "--debug-no-sync",
    "--default-time-zone=+05:00",
    "--transaction-isolation=READ-COMMITTED",
    "--sql-mode=PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES",
    "--init-connect=SET sql_quote_show_create = 0, collation_connection = latin1_bin",
    "--max-statement-time=50",
)


def account(server: MariadbServer, folder: Path, database: str = EVERYTHING) -> MariadbSource:
    """A source whose account has the rights that it asks for, and EXECUTE for a view's sake."""
    secret = folder / "password"
    secret.write_text("put-a-long-password-here")
    secret.chmod(0o600)
    source = source_of(server, "dump", secret, database=database, user="keeper")
    server.run("DROP USER IF EXISTS keeper@localhost")
    server.script(source.grants())
    pattern = database.replace("_", "\\_")
    server.run(f"GRANT EXECUTE ON `{pattern}`.* TO keeper@localhost")
    return source


@dataclass
class Taken:
    """A server, a source of its own, a good copy of it, and what others see in it."""

    server: MariadbServer
    source: MariadbSource
    copy: Path
    look: str

    def judged(self, text: bytes, room: Path) -> list[Finding]:
        """Findings that are no good on a copy whose dump reads so."""
        copy = room / "copy"
        shutil.copytree(self.copy, copy)
        (copy / "dump.sql").write_bytes(text)
        findings = self.source.validate(copy, fresh(room / "scratch"))
        shutil.rmtree(room)
        return [finding for finding in findings if not finding.passed]

    def caught(self, text: bytes, room: Path) -> bool:
        """Whether a dump that reads so is caught: as ``judged``, in one server for many."""
        self.server.run(f"DROP DATABASE IF EXISTS `{EVERYTHING}`")
        (room / "dump.sql").write_bytes(text)
        programs = Programs(None, "10.11")
        try:
            if not ends_in_order(room / "dump.sql") or load_into(
                programs, programs.find("mariadb"), self.server.socket, room, force=False
            ):
                return True
            with private_connection(words_for(self.server.socket), EVERYTHING) as connection:
                return any(not finding.passed for finding in compare(connection, read_record(self.copy)))
        except ValidationError:
            return True

    def by_recover(self, text: bytes, folder: Path) -> None:
        """The dump loaded into the server, in the place of the database, by the page's own lines."""
        self.server.run(f"DROP DATABASE IF EXISTS `{EVERYTHING}`")
        (folder / "dump.sql").write_bytes(text)
        (folder / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={self.server.socket}\n")
        words = self.source.after_restore.partition("**With `dump.sql`**")[2]
        commands = "\n".join(re.findall(r"`(mariadb --[^`]+)`", words))
        home = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
        subprocess.run(["sh", "-e", "-c", commands], cwd=folder, env=home, check=True, capture_output=True)


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with mariadb_server(*SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def taken(server: MariadbServer, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    folder = tmp_path_factory.mktemp("everything")
    create_everything(server)
    look = independent_look(server)
    source = account(server, folder)
    source.check()
    source.copy_live(fresh(folder / "copy"))
    return Taken(server, source, folder / "copy", look)


def test_all_of_it_comes_back_by_the_page_as_others_see_it(taken: Taken, tmp_path: Path) -> None:
    text = (taken.copy / "dump.sql").read_bytes()
    assert taken.judged(text, tmp_path / "judged") == []
    taken.by_recover(text, tmp_path)
    assert independent_look(taken.server) == taken.look


# One of each kind of definition, changed in the dump as a fault would.
CHANGES = {
    "AUTO_INCREMENT=900": ("AUTO_INCREMENT=950", "numbers_at_limits"),
    "CHECK (`cents` >= 0)": ("CHECK (`cents` >= -1)", "children"),
    "STATS_SAMPLE_PAGES=30": ("STATS_SAMPLE_PAGES=31", "paged"),
    "VALUES LESS THAN (2025)": ("VALUES LESS THAN (2024)", "yearly"),
    "COMMENT = 'old; ones'": ("COMMENT = 'old; onez'", "yearly"),
    "ROW_FORMAT=DYNAMIC": ("ROW_FORMAT=COMPACT", "texts"),
    "KEY_BLOCK_SIZE=8": ("KEY_BLOCK_SIZE=4", "moments"),
    "latin1_german2_ci": ("latin1_german1_ci", "texts"),
    "utf8mb4_unicode_520_nopad_ci": ("utf8mb4_unicode_520_ci", "texts"),
    "`named` (`name`)": ("`named` (`name`,`id`)", "parents"),
    "`born` DESC": ("`born`", "parents"),
    " IGNORED": ("", "parents"),
    "COMMENT 'first; letters'": ("COMMENT 'first; letter'", "parents"),
    "ON DELETE SET NULL": ("ON DELETE CASCADE", "children"),
    " INVISIBLE DEFAULT 7": (" DEFAULT 7", "children"),
    "`cents` * 2": ("`cents` * 3", "children"),
    "WITHOUT SYSTEM VERSIONING": ("", "kept"),
    "COMMENT 'it''s all; here'": ("COMMENT 'it''s all; hers'", "database"),
    "start with 100 ": ("start with 90 ", "sequence tickets"),
    "increment by 5 cache 10 ": ("increment by 5 cache 20 ", "sequence tickets"),
    "SETVAL(`tickets`, 150": ("SETVAL(`tickets`, 140", "sequence tickets"),
    "READS SQL DATA": ("MODIFIES SQL DATA", "procedure balance"),
    "-- a remark": ("-- a remarl", "procedure balance"),
    "RETURN n * 2": ("RETURN n * 3", "function doubled"),
    "NEW.rate, 1": ("NEW.rate, 2", "trigger first_one"),
    "WITH CASCADED CHECK OPTION": ("WITH LOCAL CHECK OPTION", "view grown"),
    "SQL SECURITY INVOKER */\n/*!50001 VIEW": ("SQL SECURITY DEFINER */\n/*!50001 VIEW", "view abroad"),
    "EVERY '1:30' HOUR_MINUTE": ("EVERY '1:31' HOUR_MINUTE", "event nightly"),
    "STARTS '2026-01-01 02:00:00'": ("STARTS '2026-01-01 02:00:01'", "event nightly"),
    "ON COMPLETION PRESERVE DISABLE": ("ON COMPLETION PRESERVE ENABLE", "event nightly"),
    "AT '2037-01-01 00:00:00'": ("AT '2037-01-02 00:00:00'", "event some_day"),
    "RETURN 1; END; END": ("RETURN 2; END; END", "package body pack"),
}


def test_b7_what_changed_in_a_dump_is_told_by_name(taken: Taken, tmp_path: Path) -> None:
    text = (taken.copy / "dump.sql").read_text("utf-8", "surrogateescape")
    wanted = set()
    for before, (after, name) in CHANGES.items():
        assert before in text, f"the fault does not fire: {before}"
        text = text.replace(before, after, 1)
        wanted.add(name)
    found = taken.judged(text.encode("utf-8", "surrogateescape"), tmp_path / "judged")
    assert {finding.table for finding in found} == wanted
    assert all(finding.failed for finding in found)


@pytest.mark.parametrize(
    "count", [12, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_any_change_of_one_character_is_caught_or_changes_nothing(
    taken: Taken, tmp_path: Path, count: int
) -> None:
    """What is not caught must be a remark, or words that mean the same: others see no difference then."""
    whole = (taken.copy / "dump.sql").read_bytes()
    chance = random.Random(count)
    caught, few = 0, count < 20
    for number in range(count):
        at = chance.randrange(len(whole))
        other = chance.choice([byte for byte in range(33, 127) if byte != whole[at]])
        text = whole[:at] + bytes([other]) + whole[at + 1 :]
        # A server may not survive what some changes make of it: many are tried on one of their own each.
        if taken.caught(text, tmp_path) if few else taken.judged(text, tmp_path / f"{number}"):
            caught += 1
            continue
        taken.by_recover(text, tmp_path)
        where = whole[max(0, at - 40) : at + 40]
        assert independent_look(taken.server) == taken.look, f"not caught, and not the same: {where!r}"
    print(f"{caught} of {count} were caught, the others changed nothing")
    assert caught > count / 2
