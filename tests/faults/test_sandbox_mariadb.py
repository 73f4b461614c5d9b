"""What a MariaDB dump makes its client or the private server do gets no further than the scratch folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.errors import ValidationError
from tasks.platform.sandbox import available
from tasks.sources.mariadb import scratch as private
from tasks.sources.mariadb.load import load_into
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DUMP, CopyRecord, read_record
from tests.contract.mariadb_ledger import backup_account, create_ledger
from tests.contract.source_contract import fresh
from tests.servers.mariadb import MariadbServer, mariadb_server

pytestmark = pytest.mark.skipif(not available(), reason="this machine has no sandbox")


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with mariadb_server("--debug-no-sync") as running:
        create_ledger(running, rows=10)
        yield running


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that stands for a target or a folder of keys: open to all, so that no mode protects it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "key").write_text("secret")
    (folder / "key").chmod(0o666)
    return folder


@pytest.fixture
def copied(server: MariadbServer, tmp_path: Path) -> tuple[Path, CopyRecord]:
    copy = backup_account(server, "dump", tmp_path / "secret").copy_live(fresh(tmp_path / "copy")).folder
    return copy, read_record(copy)


def planted(copy: Path, text: str) -> None:
    """Put a stranger's lines before the last one, which says that the dump is whole."""
    lines = (copy / DUMP).read_text("utf-8").splitlines(keepends=True)
    (copy / DUMP).write_text("".join([*lines[1:-1], f"{text}\n", lines[-1]]), "utf-8")


def loaded(copied: tuple[Path, CopyRecord], scratch: Path) -> None:
    copy, record = copied
    programs = Programs(None, record.release)
    private.install(programs, record, fresh(scratch))
    with private.private_server(programs, record, scratch, private.SCRATCH_SETTINGS) as socket:
        load_into(programs, programs.matching("mariadb"), socket, copy, force=True)


ESCAPES = {
    "writes": "\\! echo 1 > {}/planted",
    "reads": "\\! cp {}/key {}/planted",
    "by its word": "system cp {}/key {}/planted",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_a_command_for_the_client_reaches_no_folder_outside(
    copied: tuple[Path, CopyRecord], elsewhere: Path, tmp_path: Path, escape: str
) -> None:
    planted(copied[0], escape.replace("{}", str(elsewhere)))
    loaded(copied, tmp_path / "scratch")
    assert not (elsewhere / "planted").exists()


def test_the_same_command_does_reach_it_without_a_sandbox(
    copied: tuple[Path, CopyRecord], elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "sandboxed", lambda *_, **__: None)
    planted(copied[0], ESCAPES["reads"].replace("{}", str(elsewhere)))
    loaded(copied, tmp_path / "scratch")
    assert (elsewhere / "planted").read_text() == "secret"


def test_the_server_neither_reads_nor_writes_files_elsewhere(
    copied: tuple[Path, CopyRecord], elsewhere: Path, tmp_path: Path
) -> None:
    key, out = elsewhere / "key", elsewhere / "planted"
    planted(
        copied[0],
        f"CREATE TABLE saw AS SELECT LOAD_FILE('{key}') AS text;\n"
        f"SELECT COALESCE((SELECT text FROM saw), 'nothing') INTO OUTFILE '{out}';",
    )
    loaded(copied, tmp_path / "scratch")
    assert not out.exists()
    tables = (tmp_path / "scratch").rglob("saw.ibd")
    assert [b"secret" in table.read_bytes() for table in tables] == [False]


LIBRARY = """
#include <stdio.h>
__attribute__((constructor)) static void reach(void) {
    FILE *file = fopen("%s/planted", "w");
    if (file) { fputs("reached", file); fclose(file); }
}
"""


def prepared_with_a_library(copy: Path, elsewhere: Path, scratch: Path) -> None:
    """Prepare a clone of a copy whose own settings name a library in it, which runs when it is loaded."""
    text, library = scratch / "reach.c", copy / "data" / "reach.so"
    text.write_text(LIBRARY % elsewhere)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, text], check=True)
    folder = scratch / "data"
    with (copy / "data" / "backup-my.cnf").open("a") as settings:
        settings.write(f"plugin_load=reach.so\nplugin_dir={folder}\n")
    programs = Programs(None, read_record(copy).release)
    with suppress(ValidationError):
        private.prepare_clone(programs, copy, scratch)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
@pytest.mark.parametrize("closed", [True, False], ids=["sandbox", "control"])
def test_a_library_that_a_copys_settings_name_reaches_no_folder_outside(
    server: MariadbServer, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    if not closed:
        monkeypatch.setattr(private, "sandboxed", lambda *_, **__: None)
    copy = backup_account(server, "physical", tmp_path / "secret").copy_live(fresh(tmp_path / "copy")).folder
    prepared_with_a_library(copy, elsewhere, fresh(tmp_path / "scratch"))
    assert (elsewhere / "planted").exists() is not closed
