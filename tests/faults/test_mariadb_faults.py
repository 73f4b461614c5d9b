"""MariaDB sources that cannot be copied, copies that are stopped half-way: what is told, what is left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.errors import CopyError, SourceError, SourceMissing, ValidationError
from tasks.sources.mariadb.source import MariadbSource
from tasks.sources.registry import source_for_copies
from tests.contract.mariadb_ledger import (
    DATABASE,
    PASSWORD,
    backup_account,
    create_ledger,
    source_of,
    writing,
)
from tests.contract.source_contract import fresh, snapshot
from tests.mounts import tmpfs
from tests.servers.mariadb import MariadbServer, mariadb_server

METHODS = ("physical", "dump")


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    # The second address stands for another machine's.
    with mariadb_server("--debug-no-sync", "--bind-address=127.0.0.1,127.0.0.2") as running:
        create_ledger(running)
        yield running


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "password"


@pytest.fixture(params=METHODS)
def source(request: pytest.FixtureRequest, server: MariadbServer, secret: Path) -> MariadbSource:
    return backup_account(server, request.param, secret)


def refused(source: MariadbSource, error: type[SourceError], words: str) -> SourceError:
    """What check says: one line, with a hint, without the driver's own text or the password."""
    with pytest.raises(error, match=words) as caught:
        source.check()
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert "SQL" not in re.sub(r"MySQL|MySql", "", caught.value.message)
    assert PASSWORD not in str(caught.value)
    return caught.value


class TestRefused:
    def test_wrong_password(self, server: MariadbServer, source: MariadbSource, secret: Path) -> None:
        secret.write_text("another")
        refused(source, SourceError, "access denied")

    def test_no_server(self, server: MariadbServer, secret: Path) -> None:
        backup_account(server, "dump", secret)
        gone = source_of(server, "dump", secret, socket=None, host="127.0.0.1", port=1)
        refused(gone, SourceMissing, "no server answers")

    def test_no_such_machine(self, server: MariadbServer, secret: Path) -> None:
        backup_account(server, "dump", secret)
        gone = source_of(server, "dump", secret, socket=None, host="nowhere.invalid")
        refused(gone, SourceMissing, "no machine of that name|no server answers")

    def test_no_such_database(self, server: MariadbServer, secret: Path) -> None:
        backup_account(server, "physical", secret)
        gone = source_of(server, "physical", secret, database="another")
        refused(gone, SourceMissing, "no such database")

    def test_no_such_database_to_dump(self, server: MariadbServer, secret: Path) -> None:
        """Without any right to it the server does not say which of the two it is."""
        backup_account(server, "dump", secret)
        refused(source_of(server, "dump", secret, database="another"), SourceError, "no such database, or")

    @pytest.mark.parametrize("right", ["RELOAD", "PROCESS", "BINLOG MONITOR"])
    def test_right_missing_for_files(self, server: MariadbServer, secret: Path, right: str) -> None:
        source = backup_account(server, "physical", secret)
        server.run(f"REVOKE {right} ON *.* FROM backup_physical@localhost")
        refused(source, SourceError, re.escape(f"lacks {right} ON *.*"))

    @pytest.mark.parametrize("right", ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "RELOAD", "proc"])
    def test_right_missing_for_a_dump(self, server: MariadbServer, secret: Path, right: str) -> None:
        source = backup_account(server, "dump", secret)
        pattern = "`" + DATABASE.replace("_", "\\_") + "`.*"
        on = "*.*" if right == "RELOAD" else "mysql.proc" if right == "proc" else pattern
        server.run(f"REVOKE {'SELECT' if right == 'proc' else right} ON {on} FROM backup_dump@localhost")
        # Without any right on the database the server does not even let the account in.
        refused(source, SourceError, f"lacks .*{right}")

    @pytest.mark.parametrize(
        ("change", "undo", "words"),
        [
            ("CREATE TABLE old (id INT) ENGINE=MyISAM", "DROP TABLE old", r"old \(MyISAM\)"),
            ("CREATE TABLE old (id INT) ENGINE=Aria", "DROP TABLE old", r"old \(Aria\)"),
        ],
        ids=str,
    )
    def test_tables_that_a_dump_does_not_hold(
        self, server: MariadbServer, secret: Path, change: str, undo: str, words: str
    ) -> None:
        source = backup_account(server, "dump", secret)
        server.run(change, database=DATABASE)
        try:
            assert "physical" in refused(source, SourceError, words).hint
        finally:
            server.run(undo, database=DATABASE)

    def test_table_outside_the_data_folder(self, server: MariadbServer, secret: Path, tmp_path: Path) -> None:
        """A server on the copy would follow the way there, and open production's own file."""
        source = backup_account(server, "physical", secret)
        away = fresh(tmp_path / "away")
        server.run(f"CREATE TABLE far (id INT) DATA DIRECTORY='{away}'", database=DATABASE)
        try:
            refused(source, SourceError, "far lies outside")
        finally:
            server.run("DROP TABLE far", database=DATABASE)

    def test_files_of_another_machine(self, server: MariadbServer, secret: Path) -> None:
        backup_account(server, "physical", secret)
        far = source_of(server, "physical", secret, socket=None, host="127.0.0.2", port=server.port)
        refused(far, SourceError, "another machine")

    @pytest.mark.parametrize("method", METHODS)
    def test_programs_missing(self, server: MariadbServer, secret: Path, method: str, tmp_path: Path) -> None:
        backup_account(server, method, secret)
        bare = source_of(server, method, secret, programs=fresh(tmp_path / "bin"))
        error = refused(bare, SourceError, "is not on this machine")
        assert "apt install" in error.hint

    def test_programs_of_another_release(self, server: MariadbServer, secret: Path, tmp_path: Path) -> None:
        backup_account(server, "physical", secret)
        folder = fresh(tmp_path / "bin")
        (folder / "mariadb-backup").write_text("#!/bin/sh\necho mariadb-backup on MariaDB 10.6.2-MariaDB\n")
        (folder / "mariadb-backup").chmod(0o700)
        source = source_of(server, "physical", secret, programs=folder)
        refused(source, SourceError, "release 10.6, needed is 10.11")

    def test_view_without_its_table(self, server: MariadbServer, secret: Path, tmp_path: Path) -> None:
        source = backup_account(server, "dump", secret)
        server.run(
            "CREATE TABLE base (id INT)",
            "CREATE VIEW hollow AS SELECT * FROM base",
            "DROP TABLE base",
            database=DATABASE,
        )
        try:
            with pytest.raises(CopyError, match="a view refers to something that no longer exists"):
                source.copy_live(fresh(tmp_path / "copy"))
        finally:
            server.run("DROP VIEW hollow", database=DATABASE)
        assert snapshot(tmp_path / "copy") == {}


def on_a_bare_machine(source: MariadbSource, copy: Path, tmp_path: Path) -> None:
    findings = source.validate(copy, fresh(tmp_path / "v"))
    assert [finding.passed for finding in findings][-1] is False
    assert "not on this machine" in findings[-1].detail
    assert "apt install" in findings[-1].detail
    with (
        pytest.raises(ValidationError, match="not on this machine") as caught,
        source.open(copy, fresh(tmp_path / "o")),
    ):
        pass
    assert "apt install" in caught.value.hint


def test_copy_on_a_machine_without_programs(
    server: MariadbServer, source: MariadbSource, secret: Path, tmp_path: Path
) -> None:
    copy = source.copy_live(fresh(tmp_path / "copy"))
    method = "dump" if (copy.folder / "dump.sql").exists() else "physical"
    bare = source_of(server, method, secret, programs=fresh(tmp_path / "bin"))
    on_a_bare_machine(bare, copy.folder, tmp_path)
    if method == "physical":
        with pytest.raises(SourceError, match="not on this machine") as caught:
            bare.restore(copy.folder, tmp_path / "restored")
        assert "apt install" in caught.value.hint
        assert snapshot(tmp_path / "restored") == {}
    else:
        assert bare.restore(copy.folder, tmp_path / "restored").name == "dump.sql"


def test_copies_are_worked_on_without_a_plan(
    source: MariadbSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And far down in the file tree, where a socket's path would be too long."""
    with tempfile.TemporaryDirectory(prefix="t-") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        _worked_on_without_a_plan(source, tmp_path)
        assert not any(Path(short).iterdir())


def _worked_on_without_a_plan(source: MariadbSource, tmp_path: Path) -> None:
    copy = source.copy_live(fresh(tmp_path / "copy")).folder
    deep = tmp_path / ("deep" * 20) / ("deeper" * 15)
    deep.mkdir(parents=True)
    planless = source_for_copies("mariadb")
    findings = planless.validate(copy, fresh(deep / "v"))
    assert all(finding.passed for finding in findings), findings
    with planless.open(copy, deep / "v") as connection:
        assert "left_half" in {table.name for table in planless.tables(connection)}
        with pytest.raises(Exception, match="READ ONLY"):
            connection.cursor().execute("DELETE FROM left_half")


def find_child(folder: Path) -> int:
    """The process that writes into ``folder``, by its command line."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith((b"mariadb-backup", b"mariadb-dump")) and str(folder).encode() in b" ".join(
            words
        ):
            return int(line.parent.name)
    return 0


def test_program_killed_in_mid_copy(server: MariadbServer, source: MariadbSource, tmp_path: Path) -> None:
    folder = fresh(tmp_path / "copy")
    killed: list[int] = []

    def kill(_done: int, _total: int) -> None:
        child = 0 if killed else find_child(folder)
        if child:
            os.kill(child, signal.SIGSTOP)
            killed.append(child)
            os.kill(child, signal.SIGKILL)

    # The dump is over within one look: lengthen it.
    server.run("CREATE TABLE long_one SELECT REPEAT('x', 1000) AS t FROM seq_1_to_150000", database=DATABASE)
    try:
        with writing(server) as writer:
            with pytest.raises(CopyError, match="status 137"):
                source.copy_live(folder, kill)
            assert killed, "the fault did not fire"
            assert writer.wait_for_commit(10), "commits are still held up"
    finally:
        server.run("DROP TABLE long_one", database=DATABASE)
    assert snapshot(folder) == {}


def test_run_stopped_in_mid_copy(server: MariadbServer, source: MariadbSource, tmp_path: Path) -> None:
    folder, calls = fresh(tmp_path / "copy"), 0

    def stop(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with writing(server) as writer:
        with pytest.raises(KeyboardInterrupt):
            source.copy_live(folder, stop)
        assert writer.wait_for_commit(10), "commits are still held up"
    assert snapshot(folder) == {}
    assert find_child(folder) == 0


def test_staging_disk_full(source: MariadbSource, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", megabytes=3) as small:
        with pytest.raises(CopyError, match="the disk is full") as caught:
            source.copy_live(fresh(small / "copy"))
        assert not caught.value.permanent
        assert snapshot(small / "copy") == {}


def test_scratch_disk_full(source: MariadbSource, tmp_path: Path) -> None:
    copy = source.copy_live(fresh(tmp_path / "copy")).folder
    with tmpfs(tmp_path / "small", megabytes=3) as small:
        findings = source.validate(copy, fresh(small / "v"))
        assert not findings[-1].passed
        assert re.search("free space|disk is full", findings[-1].detail)


def certificates(folder: Path) -> None:
    """An authority, and a server's certificate for 127.0.0.1, as PEM files."""
    now = datetime.now(UTC)

    def issue(name: str, issuer: str, signer: Any, key: Any, *extensions: x509.ExtensionType) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, stranger, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = x509.BasicConstraints(ca=True, path_length=None)
    (folder / "ca.pem").write_bytes(issue("office", "office", authority, authority, root))
    (folder / "stranger.pem").write_bytes(issue("other", "other", stranger, stranger, root))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    (folder / "cert.pem").write_bytes(issue("localhost", "office", authority, key, names))


def test_encrypted_connection(secret: Path, tmp_path: Path) -> None:
    """The account must come encrypted; driver and program know the server by its authority."""
    certificates(tmp_path)
    options = [
        f"--ssl-{name}={tmp_path / file}.pem"
        for name, file in (("ca", "ca"), ("cert", "cert"), ("key", "key"))
    ]
    with mariadb_server("--debug-no-sync", *options) as server:
        create_ledger(server, rows=50)
        backup_account(server, "dump", secret)
        server.run("ALTER USER backup_dump@localhost REQUIRE SSL")
        reached = {"socket": None, "host": "localhost", "port": server.port}
        refused(source_of(server, "dump", secret, **reached), SourceError, "access denied")
        wrong = source_of(server, "dump", secret, certificate=tmp_path / "stranger.pem", **reached)
        refused(wrong, SourceError, "no trusted encrypted connection")
        right = source_of(server, "dump", secret, certificate=tmp_path / "ca.pem", **reached)
        copy = right.copy_live(fresh(tmp_path / "copy"))
        assert all(finding.passed for finding in right.validate(copy.folder, fresh(tmp_path / "v")))


def test_encrypted_tables(secret: Path, tmp_path: Path) -> None:
    """The keys are not in the data folder: such files are no backup. A dump is."""
    (tmp_path / "keys").write_text("1;" + "ab" * 32)
    options = ["--plugin-load-add=file_key_management", f"--file-key-management-filename={tmp_path / 'keys'}"]
    with mariadb_server("--debug-no-sync", *options) as server:
        create_ledger(server, rows=50)
        physical, dump = (backup_account(server, method, secret) for method in METHODS)
        physical.check()
        server.run("ALTER TABLE counter ENCRYPTED=YES", database=DATABASE)
        assert "dump" in refused(physical, SourceError, "encrypts its files").hint
        dump.check()


def test_account_known_by_the_system_user(tmp_path: Path) -> None:
    """unix_socket: no password anywhere."""
    with mariadb_server("--debug-no-sync") as server:
        create_ledger(server, rows=50)
        server.run("ALTER USER root@localhost IDENTIFIED VIA unix_socket")
        for method in METHODS:
            source = source_of(server, method, tmp_path, user=None, password=None)
            assert "IDENTIFIED VIA unix_socket" in source.grants()
            server.script(source.grants())
            copy = source.copy_live(fresh(tmp_path / method))
            assert all(
                finding.passed for finding in source.validate(copy.folder, fresh(tmp_path / f"{method}-v"))
            )


def test_physical_copy_over_the_network_address(server: MariadbServer, secret: Path, tmp_path: Path) -> None:
    backup_account(server, "physical", secret)
    source = source_of(server, "physical", secret, socket=None, host="127.0.0.1", port=server.port)
    source.copy_live(fresh(tmp_path / "copy"))
    with (
        source.open(tmp_path / "copy", fresh(tmp_path / "o")) as connection,
        closing(connection.cursor()) as cursor,
    ):
        assert cursor.execute("SELECT COUNT(*) FROM left_half").fetchone()[0] == 2_000


def test_nothing_of_the_password_is_left(
    source: MariadbSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a command line, nor in a file, once the copy is made."""
    seen: list[bytes] = []
    monkeypatch.setattr(tempfile, "tempdir", str(fresh(tmp_path / "tmp")))

    def look(_done: int, _total: int) -> None:
        child = find_child(tmp_path / "copy")
        if child:
            seen.append(
                Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
            )

    source.copy_live(fresh(tmp_path / "copy"), look)
    assert seen or (tmp_path / "copy" / "dump.sql").exists(), "the program was never seen"
    assert not any(PASSWORD.encode() in words for words in seen)
    assert not any((tmp_path / "tmp").iterdir())
    assert not [
        path
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]


Injury = Callable[[Path], None]


@pytest.mark.parametrize(
    "injure",
    [
        lambda copy: (copy / "datasave.json").unlink(),
        lambda copy: (copy / "datasave.json").write_text("{}"),
        lambda copy: (
            shutil.rmtree(copy / "data", ignore_errors=True) or (copy / "dump.sql").unlink(missing_ok=True)
        ),
    ],
    ids=["no record", "foreign record", "record alone"],
)
def test_what_is_no_copy(source: MariadbSource, tmp_path: Path, injure: Injury) -> None:
    folder = source.copy_live(fresh(tmp_path / "copy")).folder
    injure(folder)
    assert not source.validate(folder, fresh(tmp_path / "v"))[-1].passed
    with pytest.raises(ValidationError), source.open(folder, fresh(tmp_path / "o")):
        pass
