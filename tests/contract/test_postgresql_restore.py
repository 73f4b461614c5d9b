"""What comes back starts with stock programs alone, by the very lines that RECOVER.md gives."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.archive.reader import extract_archive
from tasks.archive.writer import write_archive
from tasks.checks.measure import profile
from tasks.sources.postgresql.record import read_record
from tasks.sources.postgresql.source import PostgresqlSource
from tests.contract.postgresql_ledger import create_ledger
from tests.contract.source_contract import fresh, snapshot
from tests.servers.ports import free_port
from tests.servers.postgresql import (
    BIN,
    SUPERUSER,
    PostgresqlServer,
    other_account,
    postgresql,
    postgresql_server,
    started,
)

__all__ = ["postgresql"]


@pytest.fixture(scope="module")
def clinic(postgresql: PostgresqlServer) -> str:
    create_ledger(postgresql, "clinic", rows=500)
    postgresql.sql("postgres", 'CREATE ROLE "Dr. Who"', 'ALTER DATABASE clinic OWNER TO "Dr. Who"')
    postgresql.sql(
        "clinic", 'ALTER TABLE left_half OWNER TO "Dr. Who"', 'GRANT SELECT ON counter TO "Dr. Who"'
    )
    return "clinic"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of PostgreSQL can reach."""
    with tempfile.TemporaryDirectory(prefix="datasave-restore-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def lines_for(what: str) -> list[str]:
    """The commands that RECOVER.md gives for ``data`` or for ``dump``."""
    part = PostgresqlSource.after_restore.split(f"**`{what}`")[1].split("**`")[0]
    return [line.strip() for line in part.splitlines() if line.startswith("    ")]


def follow(lines: list[str], place: Path, environment: dict[str, str]) -> str:
    """Run the commands in ``place``: the first as root where it is about owners, all others as postgres."""
    own = [line for line in lines if line.startswith("chown") and os.geteuid() == 0]
    others = [line for line in lines if not line.startswith("chown")]
    output = ""
    for prefix, script in (([], own), (other_account(), others)):
        done = subprocess.run(
            [*prefix, "bash", "-e", "-c", "\n".join(script)],
            cwd=place,
            env={**environment, "PATH": f"{BIN}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output += done.stdout
    return output


def readable(server: PostgresqlServer, folder: Path) -> Path:
    """The superuser's password file, for the account of PostgreSQL."""
    path = folder / "pass"
    shutil.copy(server.folder / f"{SUPERUSER}.pass", path)
    if os.geteuid() == 0:
        shutil.chown(path, "postgres")
    return path


def test_a_whole_server_by_the_words(
    postgresql: PostgresqlServer, clinic: str, folder: Path, tmp_path: Path
) -> None:
    source = postgresql.source("physical", clinic)
    copy = source.copy_live(fresh(tmp_path / "copy")).folder
    expected = postgresql.sql(clinic, "SELECT count(*), sum(id) FROM left_half")
    shutil.copytree(copy, folder / "here", symlinks=True)
    port = str(free_port())
    lines = [line.replace("5433", port) for line in lines_for("data")]
    assert any("pg_ctl" in line for line in lines)
    environment = {"PGUSER": SUPERUSER, "PGPASSFILE": str(readable(postgresql, folder))}
    here = {**postgresql.environment(), "PGHOST": "/tmp", "PGPORT": port}
    try:
        assert "clinic" in follow(lines, folder / "here", environment)

        def ask(sql: str) -> str:
            command = [BIN / "psql", "-X", "-A", "-t", "-d", clinic, "-c", sql]
            return subprocess.run(
                command, env=here, capture_output=True, text=True, check=True
            ).stdout.strip()

        assert ask("SELECT count(*), sum(id) FROM left_half") == expected
        assert ask("SHOW archive_mode") == "off"
    finally:
        stop = [*other_account(), BIN / "pg_ctl", "-D", folder / "here" / "data", "-m", "fast", "stop"]
        subprocess.run(stop, capture_output=True, check=False)


def test_one_database_by_the_words(
    clinic: str, postgresql: PostgresqlServer, folder: Path, tmp_path: Path
) -> None:
    """Into a server that has never seen it, with its accounts, owners and rights."""
    copy = postgresql.source("logical", clinic).copy_live(fresh(tmp_path / "copy")).folder
    shutil.copytree(copy, folder / "here")
    with postgresql_server() as other:
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "postgres", folder / "here"], check=True)
        environment = {**other.environment(), "PGPASSFILE": str(readable(other, folder))}
        follow(lines_for("dump"), folder / "here", environment)
        for sql in (
            "SELECT count(*), sum(id), min(filler) FROM left_half",
            "SELECT count(*) FROM entries",
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT tableowner FROM pg_tables WHERE tablename = 'left_half'",
            "SELECT has_table_privilege('Dr. Who', 'counter', 'SELECT')",
        ):
            assert other.sql(clinic, sql) == postgresql.sql(clinic, sql) != ""


def test_the_copy_does_nothing_to_others_when_started(tmp_path: Path) -> None:
    """Production archives its log, and keeps its configuration outside its data folder, as Debian does."""
    with tempfile.TemporaryDirectory() as archive:
        Path(archive).chmod(0o777)
        settings = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
        with postgresql_server() as server:
            server.sql(
                "postgres", *[f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
            )
            server.sql("postgres", "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1'")
            for name in ("postgresql.conf", "pg_ident.conf"):
                (server.data / name).unlink()
            (server.data / "standby.signal").touch()
            copy = server.source("physical", "postgres").copy_live(fresh(tmp_path / "copy")).folder
            assert read_record(copy).added == ("postgresql.conf", "pg_ident.conf")
            findings = server.source("physical", "postgres").validate(copy, fresh(tmp_path / "v"))
            assert [f.check for f in findings if not f.passed] == ["tables"], "there are none in it"
            data = server.source("physical", "postgres").restore(copy, tmp_path / "new")
            with tempfile.TemporaryDirectory() as sockets, started(data, Path(sockets)):
                environment = {**server.environment(), "PGHOST": sockets, "PGPORT": "5432"}
                shown = ", ".join(
                    f"current_setting('{name}')" for name in ("archive_mode", "primary_conninfo")
                )
                sql = f"SELECT pg_is_in_recovery(), pg_switch_wal(), {shown}"
                command = [BIN / "psql", "-X", "-A", "-t", "-d", "postgres", "-c", sql]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("f|")
        assert done.stdout.strip().endswith("|off|")
        assert list(Path(archive).iterdir()) == []


@pytest.fixture(scope="module")
def spread() -> Iterator[PostgresqlServer]:
    """A server with a database in two tablespaces, one with an odd name."""
    with postgresql_server() as server:
        for name in ("fast disk", "old=disk"):
            place = server.folder / name
            place.mkdir(mode=0o700)
            if os.geteuid() == 0:
                shutil.chown(place, "postgres", "postgres")
            server.sql("postgres", f"CREATE TABLESPACE \"{name}\" LOCATION '{place}'")
        create_ledger(server, "clinic", rows=500)
        server.sql("clinic", 'ALTER TABLE left_half SET TABLESPACE "fast disk"')
        server.sql("clinic", 'ALTER INDEX left_half_pkey SET TABLESPACE "old=disk"')
        yield server


@pytest.mark.parametrize("method", ["physical", "logical"])
def test_tablespaces(spread: PostgresqlServer, method: str, tmp_path: Path) -> None:
    """Through an archive, which takes no link that leads out of the copy; the live ones stay untouched."""
    source = spread.source(method, "clinic")
    live = snapshot(spread.folder / "fast disk")
    copy = source.copy_live(fresh(tmp_path / "copy"))
    assert snapshot(spread.folder / "fast disk") == live
    packed = io.BytesIO()
    write_archive(copy.folder, packed)
    packed.seek(0)
    unpacked = fresh(tmp_path / "unpacked")
    extract_archive(packed, unpacked, limit=copy.bytes + (1 << 20))
    assert {file.path: file.sha256 for file in copy.files} == snapshot(unpacked)
    scratch = fresh(tmp_path / "v")
    findings = source.validate(unpacked, scratch)
    assert [finding for finding in findings if not finding.passed] == []
    with source.open(unpacked, scratch) as connection:
        held = {table.name: table.rows for table in profile(connection, source.tables(connection)).tables}
    assert held["public.left_half"] == 500
    if method == "logical":
        return
    data = source.restore(unpacked, tmp_path / "restored")
    links = list((data / "pg_tblspc").iterdir())
    assert len(links) == 2
    for link in links:
        assert link.readlink() == tmp_path / "restored" / "tablespaces" / link.name
    shutil.rmtree(unpacked)
    with tempfile.TemporaryDirectory() as sockets, started(data, Path(sockets)):
        environment = {**spread.environment(), "PGHOST": sockets, "PGPORT": "5432"}
        command = [BIN / "psql", "-X", "-A", "-t", "-d", "clinic", "-c", "SELECT count(*) FROM left_half"]
        assert (
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            == "500\n"
        )


def test_a_damaged_tablespace_is_caught(spread: PostgresqlServer, tmp_path: Path) -> None:
    source = spread.source("physical", "clinic")
    copy = source.copy_live(fresh(tmp_path / "copy")).folder
    (path,) = [
        p for p in (copy / "tablespaces").rglob("*") if p.is_file() and b"same words" in p.read_bytes()
    ]
    path.write_bytes(path.read_bytes().replace(b"same words", b"###e words", 1))
    findings = source.validate(copy, fresh(tmp_path / "v"))
    assert any("was altered" in finding.detail for finding in findings if not finding.passed)


@pytest.mark.parametrize("method", ["physical", "logical"])
def test_the_statements_of_grants_are_enough(postgresql: PostgresqlServer, clinic: str, method: str) -> None:
    """As they stand, by psql, for an account that was not there."""
    user = f"backup {method}"
    source = postgresql.source(
        method, clinic, user=user, password=f"file:{postgresql.password_file('bk_dump')}"
    )
    text = source.grants()
    subprocess.run(
        [BIN / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres"],
        input=text,
        env=postgresql.environment(),
        text=True,
        check=True,
        capture_output=True,
    )
    postgresql.sql("postgres", f"ALTER ROLE \"{user}\" PASSWORD 'reads rows'")
    assert source.check().bytes > 0
    assert "SUPERUSER" not in re.sub("--.*", "", text)
