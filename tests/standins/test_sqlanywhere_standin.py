"""The SQL Anywhere stand-in behaves as the facts say: a test for each."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.platform.processes import run as run_program
from tests.contract.source_contract import ledger_commits
from tests.standins.sqlanywhere import Production, StandIn, damage_row
from tests.standins.sqlanywhere.client import Client
from tests.standins.sqlanywhere.codes import Failure
from tests.standins.sqlanywhere.production import PASSWORDS

# What stands in for an engine is held to the documents, not the program to it: in `make test-all`.
pytestmark = pytest.mark.long

BACKUP_USER = "uid=BU_BILL;pwd=PASSword#1;dsn=SOSDATA"
TABLES = (
    "SELECT u.user_name, t.table_name FROM SYS.SYSTAB t JOIN SYS.SYSUSER u ON u.user_id=t.creator "
    "WHERE t.table_type_str='BASE' AND t.creator NOT IN (0,1,3)"
)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    standin = StandIn.install(tmp_path_factory.mktemp("sa") / "sqlanywhere17")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in standin.environment.items():
            patch.setenv(name, value)
        yield standin
    standin.end_all()


@pytest.fixture(scope="module")
def shared(standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """A production server that no test stops or damages."""
    with standin.production(tmp_path_factory.mktemp("SOS"), rows=300) as production:
        yield production


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Production]:
    """A production server on a machine of its own, for a test that is rough with it."""
    standin = StandIn.install(tmp_path / "own")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in standin.environment.items():
            patch.setenv(name, value)
        with standin.production(tmp_path / "SOS", rows=300) as production:
            yield production
        standin.end_all()


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "standin" in request.fixturenames or "shared" in request.fixturenames:
        request.getfixturevalue("standin").clear_faults()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    return {file.name: digest(file) for file in folder.iterdir()}


def back_up(standin: StandIn, folder: Path, *options: str) -> Path:
    done = standin.run("dbbackup", "-y", *options, "-c", BACKUP_USER, folder)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def scratch(standin: StandIn, copy: Path, *, options: tuple[str, ...] = ()) -> Iterator[str]:
    """An engine on the copy, the safe way: the server's name."""
    name = f"ds_{next(_numbers)}"
    line = ["-n", name, "-x", "none", "-c", "256M", copy / "sosdata.db", "-n", "ds", "-ds", copy, *options]
    started = standin.run("dbspawn", "-f", standin.program("dbeng"), *line)
    assert started.returncode == 0, started.returncode
    try:
        yield name
    finally:
        assert standin.run("dbstop", "-y", name).returncode == 0


def start_code(standin: StandIn, *arguments: str | Path) -> int:
    """The exit code of an engine that is expected not to stay."""
    return standin.run("dbeng", "-n", f"ds_{next(_numbers)}", "-x", "none", *arguments).returncode


def odbc(standin: StandIn, server: str, user: str = "uid=dba;pwd=sql", **options: str) -> Any:
    import pyodbc

    return pyodbc.connect(f"Driver={{{standin.driver}}};SERVER={server};{user};ASTART=NO", **options)


def one(connection: Any, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]


class TestBackup:
    def test_writes_database_dbspaces_and_log_under_live_names(
        self, shared: Production, tmp_path: Path
    ) -> None:
        copy = back_up(shared.standin, tmp_path / "new" / "copy")
        assert {file.name for file in copy.iterdir()} == {"sosdata.db", "documents.db", "sosdata.log"}

    def test_copied_log_is_smaller_than_the_live_one(self, shared: Production, tmp_path: Path) -> None:
        copy = back_up(shared.standin, tmp_path)
        assert 0 < (copy / "sosdata.log").stat().st_size < shared.log.stat().st_size

    @pytest.mark.parametrize(
        ("options", "names"),
        [
            (["-d"], {"sosdata.db", "documents.db"}),
            (["-t"], {"sosdata.log"}),
            (["-s"], {"sosdata.db", "documents.db", "sosdata.log"}),
            (["-s", "-k", "recover"], {"sosdata.db", "documents.db", "sosdata.log"}),
            (["-q", "-b", "16", "-k", "nocopy"], {"sosdata.db", "documents.db", "sosdata.log"}),
        ],
    )
    def test_options(self, shared: Production, tmp_path: Path, options: list[str], names: set[str]) -> None:
        copy = back_up(shared.standin, tmp_path / "copy", *options)
        assert {file.name for file in copy.iterdir()} == names

    def test_dated_log(self, shared: Production, tmp_path: Path) -> None:
        copy = back_up(shared.standin, tmp_path, "-n")
        assert [file for file in copy.iterdir() if re.fullmatch(r"\d{6}AA\.log", file.name)]
        assert shared.log.exists()

    def test_progress_is_printed_and_quiet_is_quiet(self, shared: Production, tmp_path: Path) -> None:
        loud = shared.standin.run("dbbackup", "-y", "-c", BACKUP_USER, tmp_path / "a")
        quiet = shared.standin.run(
            "dbbackup", "-y", "-q", "-o", tmp_path / "o", "-c", BACKUP_USER, tmp_path / "b"
        )
        assert "100% complete" in loud.stdout
        assert quiet.stdout == ""
        assert (tmp_path / "o").read_text()

    def test_image_is_of_the_opening_checkpoint_and_the_log_has_what_came_later(
        self, shared: Production, tmp_path: Path
    ) -> None:
        standin, copy = shared.standin, tmp_path / "copy"
        standin.fault("dbbackup", pause=0.1)
        with running_backup(standin, copy):
            shared.execute("INSERT INTO DBA.patients VALUES (77, 'While it ran', NULL)")
        assert b"While it ran" not in (copy / "sosdata.db").read_bytes()
        assert b"While it ran" in (copy / "sosdata.log").read_bytes()
        with scratch(standin, copy) as server:
            assert one(odbc(standin, server), "SELECT name FROM DBA.patients WHERE id = 77") == "While it ran"

    def test_copy_beside_a_writer_recovers_whole(self, shared: Production, tmp_path: Path) -> None:
        shared.standin.fault("dbbackup", pause=0.03)
        with shared.writer() as writer:
            before = writer.commits
            copy = back_up(shared.standin, tmp_path / "copy", "-b", "16")
            after = writer.commits
            assert writer.wait_for_commit(10)
        assert after - before > 3
        with scratch(shared.standin, copy) as server:
            assert (
                before
                <= ledger_commits(odbc(shared.standin, server)) - shared_before(shared, writer)
                <= after + 1
            )

    def test_other_backups_checkpoints_and_ddl_wait_while_it_runs_and_writers_do_not(
        self, shared: Production, tmp_path: Path
    ) -> None:
        shared.standin.fault("dbbackup", pause=0.15, times=1)
        waits = {}

        def measure(name: str, work: Callable[[], object]) -> threading.Thread:
            def timed() -> None:
                begun = time.perf_counter()
                work()
                waits[name] = time.perf_counter() - begun

            thread = threading.Thread(target=timed)
            thread.start()
            return thread

        with running_backup(shared.standin, tmp_path / "first") as first:
            threads = [
                measure("write", lambda: shared.execute("UPDATE DBA.notes SET words = 'x' WHERE id = 1")),
                measure("checkpoint", lambda: shared.execute("CHECKPOINT")),
                measure("ddl", lambda: shared.execute("CREATE TABLE DBA.made_late (id INTEGER)")),
                measure("backup", lambda: back_up(shared.standin, tmp_path / "second")),
            ]
            time.sleep(0.3)
            assert set(waits) == {"write"}
            assert first.poll() is None
        for thread in threads:
            thread.join(30)
        assert set(waits) == {"write", "checkpoint", "ddl", "backup"}

    def test_killed_backup_lets_others_go_on(self, shared: Production, tmp_path: Path) -> None:
        shared.standin.fault("dbbackup", pause=5, times=1)
        process = begin_backup(shared.standin, tmp_path / "first")
        process.kill()
        process.wait()
        back_up(shared.standin, tmp_path / "second")

    def test_old_files_of_a_reused_folder_fake_success(self, shared: Production, tmp_path: Path) -> None:
        copy = back_up(shared.standin, tmp_path / "copy")
        before = digests(copy)
        shared.standin.fault("dbbackup", exit=0)
        back_up(shared.standin, copy)
        assert digests(copy) == before

    def test_server_gone_in_the_middle(self, own: Production, tmp_path: Path) -> None:
        own.standin.fault("dbbackup", pause=0.2)
        process = begin_backup(own.standin, tmp_path / "copy")
        own.kill()
        assert process.wait(20) == 6

    def test_live_log_backup_never_ends_by_itself(self, shared: Production, tmp_path: Path) -> None:
        target = tmp_path / "live.log"
        process = begin(shared.standin, "dbbackup", "-l", target, "-c", BACKUP_USER)
        wait_for(target.exists)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
        process.wait()


def shared_before(production: Production, writer: Any) -> int:
    """Commits of the ledger that earlier writers made."""
    return int(production.execute("SELECT commits FROM DBA.counter")[0][0]) - writer.commits


def begin(standin: StandIn, name: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    command = [str(word) for word in (standin.program(name), *arguments)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, **{**quiet, **options})


def begin_backup(standin: StandIn, folder: Path) -> subprocess.Popen[bytes]:
    process = begin(standin, "dbbackup", "-y", "-c", BACKUP_USER, folder)
    wait_for((folder / "sosdata.db").exists)
    return process


@contextmanager
def running_backup(standin: StandIn, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A block while a backup is in its middle; it is finished and good afterwards."""
    process = begin_backup(standin, folder)
    yield process
    assert process.wait(60) == 0


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestPrompts:
    def test_without_y_it_hangs_on_a_prompt(self, shared: Production, tmp_path: Path) -> None:
        process = begin(
            shared.standin, "dbbackup", "-c", BACKUP_USER, tmp_path / "new", stdin=subprocess.PIPE
        )
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        process.communicate(b"y\n", timeout=20)
        assert process.returncode == 0

    def test_nobody_to_answer_is_a_user_break(self, shared: Production, tmp_path: Path) -> None:
        back_up(shared.standin, tmp_path / "there")
        for folder in ("new", "there"):
            done = shared.standin.run("dbbackup", "-c", BACKUP_USER, tmp_path / folder)
            assert done.returncode == 5

    def test_existing_empty_folder_needs_no_answer(self, shared: Production, tmp_path: Path) -> None:
        assert shared.standin.run("dbbackup", "-c", BACKUP_USER, tmp_path).returncode == 0


class TestExitCodes:
    @pytest.mark.parametrize(
        ("code", "string"),
        [
            (9, "uid=BU_BILL;pwd=wrong;dsn=SOSDATA"),
            (9, "uid=BU_BILL;pwd=PASSword#1;dsn=SOSDATTA"),
            (9, "uid=BU_BILL;pwd= x;dsn=SOSDATA"),
            (9, "uid=BU_BILL;nonsense=1;dsn=SOSDATA"),
            (10, "uid=BU_BILL;pwd=PASSword#1;dsn=SOSDATA;dbn=other"),
            (11, "uid=BU_BILL;pwd=PASSword#1;server=nobody;astart=no"),
            (11, "uid=BU_BILL;pwd=PASSword#1;server=nobody"),
            (20, "uid=READER;pwd=read;dsn=SOSDATA"),
        ],
    )
    def test_connecting(self, shared: Production, tmp_path: Path, code: int, string: str) -> None:
        assert shared.standin.run("dbbackup", "-y", "-c", string, tmp_path / "copy").returncode == code

    @pytest.mark.parametrize(
        "options",
        [
            ["-z"],
            ["-d", "-t"],
            ["-k", "recover"],
            ["-k", "maybe"],
            ["-b", "none"],
            ["-r", "-x"],
            ["-c"],
            ["more"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage(self, shared: Production, tmp_path: Path, options: list[str]) -> None:
        done = shared.standin.run("dbbackup", "-c", BACKUP_USER, tmp_path, *options)
        assert done.returncode == 255

    def test_target_that_is_no_folder(self, shared: Production, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        done = shared.standin.run("dbbackup", "-y", "-c", BACKUP_USER, tmp_path / "file" / "copy")
        assert done.returncode == 3

    def test_disk_full(self, shared: Production, tmp_path: Path) -> None:
        def little_room() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

        process = begin(
            shared.standin, "dbbackup", "-y", "-c", BACKUP_USER, tmp_path / "copy", preexec_fn=little_room
        )
        assert process.wait(20) == 3

    @pytest.mark.parametrize("code", [*range(1, 22), 255])
    def test_every_code_can_be_had(self, standin: StandIn, code: int) -> None:
        standin.fault("dbbackup", exit=code, message="patient 17")
        fired = standin.fired("dbbackup")
        done = standin.run("dbbackup")
        assert (done.returncode, done.stderr, done.stdout) == (code, "patient 17\n", "patient 17\n")
        assert standin.fired("dbbackup") == fired + 1

    def test_engine_codes(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        (tmp_path / "letter.db").write_text("Dear Sir")
        shutil.copytree(copy, tmp_path / "cut")
        os.truncate(tmp_path / "cut" / "sosdata.db", 300_000)
        assert start_code(standin, tmp_path / "letter.db") == 14
        assert start_code(standin, copy / "documents.db") == 14
        assert start_code(standin, copy / "gone.db") == 3
        assert start_code(standin, tmp_path / "cut" / "sosdata.db", "-ds", tmp_path / "cut") == 2
        assert start_code(standin, shared.database) == 16
        assert start_code(standin, copy / "sosdata.db", "-ds", tmp_path / "nowhere") == 3
        assert start_code(standin, copy / "sosdata.db", "-wrong") == 255
        assert start_code(standin, "-ds", copy, copy / "sosdata.db") == 255
        assert standin.run("dbeng", "-n", "SOSserver", copy / "sosdata.db", "-ds", copy).returncode == 21
        (copy / "sosdata.log").unlink()
        assert start_code(standin, copy / "sosdata.db", "-ds", copy) == 15

    def test_server_without_a_database(self, standin: StandIn) -> None:
        assert standin.run("dbspawn", "-f", standin.program("dbeng"), "-n", "empty").returncode == 0
        done = standin.run("dbping", "-d", "-c", "SERVER=empty;UID=dba;PWD=sql")
        assert done.returncode == 7
        assert standin.run("dbstop", "-y", "empty").returncode == 0


class TestFaults:
    def test_files_left_out_spoilt_or_missing_with_code_0(self, shared: Production, tmp_path: Path) -> None:
        standin = shared.standin
        standin.fault("dbbackup", skip=["documents.db"])
        assert {file.name for file in back_up(standin, tmp_path / "a").iterdir()} == {
            "sosdata.db",
            "sosdata.log",
        }
        standin.fault("dbbackup", empty=True)
        assert list(back_up(standin, tmp_path / "b").iterdir()) == []
        standin.fault("dbbackup", spoil=["sosdata.db"])
        spoilt = back_up(standin, tmp_path / "c")
        with scratch(standin, spoilt) as server:
            assert validate(standin, server, "-d") == 2

    def test_breaks(self, shared: Production, tmp_path: Path) -> None:
        standin = shared.standin
        for fault, code in (({"full_after": 100}, 3), ({"die_after": 0}, 6), ({"exit_late": 1}, 1)):
            standin.fault("dbbackup", **fault)
            assert standin.run("dbbackup", "-y", "-c", BACKUP_USER, tmp_path / str(code)).returncode == code
        assert (tmp_path / "1" / "sosdata.db").exists()

    def test_times_map_and_hang(self, shared: Production, tmp_path: Path) -> None:
        standin = shared.standin
        standin.fault("dbping", exit=6, times=1)
        assert [standin.run("dbping", "-c", BACKUP_USER).returncode for _ in range(2)] == [6, 0]
        standin.fault("dbping", map={"9": 20})
        assert standin.run("dbping", "-d", "-c", "uid=a;pwd=b;dsn=SOSDATA").returncode == 20
        standin.fault("dbping", hang=True, stubborn=True)
        with pytest.raises(subprocess.TimeoutExpired):
            standin.run("dbping", seconds=0.5)


class TestCredentials:
    def test_string_over_sqlconnect_over_dsn(self, shared: Production) -> None:
        ping = ["dbping", "-d", "-c"]
        good, bad = "UID=dba;PWD=sql", "UID=dba;PWD=no"
        run = shared.standin.run
        assert run(*ping, "DSN=SOSDATA", sqlconnect=good).returncode == 0
        assert run(*ping, f"DSN=SOSDATA;{good}", sqlconnect=bad).returncode == 0
        assert run(*ping, f"DSN=SOSDATA;{bad}", sqlconnect=good).returncode == 9
        assert run(*ping, "DSN=SOSDATA", sqlconnect=f"{good};SERVER=nobody").returncode == 11
        assert run("dbping", "-d", sqlconnect=f"DSN=SOSDATA;{good}").returncode == 0

    def test_a_key_given_twice(self, shared: Production) -> None:
        twice = "PWD=no;PWD=sql"
        tool = shared.standin.run("dbping", "-d", "-c", f"DSN=SOSDATA;UID=dba;{twice}")
        assert tool.returncode == 0
        with pytest.raises(Exception, match="28000"):
            odbc(shared.standin, shared.server, f"uid=dba;{twice}")

    def test_options_from_a_file_and_from_a_variable(self, shared: Production, tmp_path: Path) -> None:
        options = tmp_path / "options"
        options.write_text('# how to reach it\n-d\n-c "UID=CHECKER;PWD=chEck=17 it;DSN=SOSDATA"\n')
        assert shared.standin.run("dbping", f"@{options}").returncode == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PINGOPTIONS", f"-d -c {BACKUP_USER}")
            assert run_with_own_environment(shared.standin, "dbping", "@PINGOPTIONS") == 0
        assert shared.standin.run("dbping", "@nothing_there").returncode == 255

    def test_password_with_a_hash_and_exact_case(self, shared: Production) -> None:
        ping = ("dbping", "-d", "-c")
        assert shared.standin.run(*ping, "UID=bu_bill;PWD=PASSword#1;DSN=SOSDATA").returncode == 0
        assert shared.standin.run(*ping, "UID=bu_bill;PWD=password#1;DSN=SOSDATA").returncode == 9

    def test_older_versions_say_eng_and_links(self, tmp_path: Path) -> None:
        old = StandIn.install(tmp_path / "sqlanywhere11", version=11)
        assert old.program("dbsrv").name == "dbsrv11"
        assert old.program("dbbackup").name == "dbbackup"
        with old.production(tmp_path / "SOS", rows=5) as production:
            ping = ("dbping", "-d", "-c")
            user = "UID=dba;PWD=sql"
            assert old.run(*ping, f"ENG=SOSSERVER;{user}").returncode == 0
            assert old.run(*ping, f"SERVER=SOSSERVER;{user}").returncode == 9
            assert old.run(*ping, f"HOST=127.0.0.1:{production.port};{user}").returncode == 9
            links = f"LINKS=tcpip(host=127.0.0.1;port={production.port})"
            assert old.run(*ping, f"ENG=SOSSERVER;{links};{user}").returncode == 0

    def test_newer_versions_say_host(self, shared: Production) -> None:
        string = f"HOST=127.0.0.1:{shared.port};UID=dba;PWD=sql"
        assert shared.standin.run("dbping", "-d", "-c", string).returncode == 0
        wrong = shared.standin.run("dbping", "-d", "-c", f"{string};SERVER=other")
        assert wrong.returncode == 11


def run_with_own_environment(standin: StandIn, name: str, *arguments: str) -> int:
    return subprocess.run([standin.program(name), *arguments], check=False, capture_output=True).returncode


class TestRights:
    def test_backup_user_backs_up_and_nothing_else(self, shared: Production, tmp_path: Path) -> None:
        back_up(shared.standin, tmp_path)
        assert shared.standin.run("dbvalid", "-c", BACKUP_USER).returncode == 20
        connection = odbc(shared.standin, shared.server, "uid=BU_BILL;pwd=PASSword#1")
        assert one(connection, "SELECT DB_PROPERTY('PageSize')") == "4096"
        for sql in ("SELECT COUNT(*) FROM DBA.patients", 'SELECT name FROM "DBA"."patients"'):
            with pytest.raises(Exception, match="42000"):
                connection.execute(sql)

    def test_validate_right(self, shared: Production, tmp_path: Path) -> None:
        user = "uid=VALIDATOR;pwd=valid;dsn=SOSDATA"
        assert shared.standin.run("dbvalid", "-c", user).returncode == 0
        assert shared.standin.run("dbbackup", "-y", "-c", user, tmp_path).returncode == 20

    def test_stopping_a_network_server_needs_dba(self, shared: Production) -> None:
        for string in ("SERVER=SOSSERVER", BACKUP_USER):
            assert shared.standin.run("dbstop", "-y", "-c", string).returncode == 20
        assert shared.running


class TestRecovery:
    def test_opening_a_copy_spoils_it(self, own: Production, tmp_path: Path) -> None:
        standin = own.standin
        copy = back_up(standin, tmp_path / "copy", "-r")
        own.execute("INSERT INTO DBA.patients VALUES (50, 'Later', NULL)")
        later = back_up(standin, tmp_path / "later", "-t")
        shutil.copytree(copy, tmp_path / "clone")
        before = digests(copy)
        with scratch(standin, copy):
            pass
        assert digests(copy)["sosdata.db"] != before["sosdata.db"]
        assert digests(copy)["sosdata.log"] != before["sosdata.log"]
        assert start_code(standin, copy / "sosdata.db", "-ds", copy, "-a", later / "sosdata.log") == 15
        clone = tmp_path / "clone"
        for log in (clone / "sosdata.log", later / "sosdata.log"):
            assert start_code(standin, clone / "sosdata.db", "-ds", clone, "-a", log) == 0

    def test_read_only_start_is_refused_where_recovery_is_needed(
        self, shared: Production, tmp_path: Path
    ) -> None:
        standin = shared.standin
        copy = back_up(standin, tmp_path / "copy")
        assert start_code(standin, "-r", copy / "sosdata.db", "-ds", copy) == 1
        assert start_code(standin, copy / "sosdata.db", "-ds", copy, "-r") == 1

    def test_read_only_start_changes_nothing(self, shared: Production, tmp_path: Path) -> None:
        standin = shared.standin
        copy = back_up(standin, tmp_path / "copy", "-k", "nocopy")
        before = digests(copy)
        with scratch(standin, copy, options=("-r",)) as server:
            assert one(odbc(standin, server), "SELECT COUNT(*) FROM DBA.patients") >= 3
            assert validate(standin, server) == 0
        assert digests(copy) == before

    def test_killed_server_recovers_from_its_log(self, own: Production) -> None:
        own.execute("INSERT INTO DBA.patients VALUES (60, 'Before the cut', NULL)")
        with own.client() as client:
            client.execute("BEGIN")
            client.execute("INSERT INTO DBA.patients VALUES (61, 'Never committed', NULL)")
            own.kill()
        assert b"Before the cut" not in own.database.read_bytes()
        own.start()
        assert own.execute("SELECT id FROM DBA.patients WHERE id >= 60") == [[60]]

    def test_clean_stop_and_start_keep_everything(self, own: Production) -> None:
        own.execute("INSERT INTO DBA.patients VALUES (62, 'Evening', NULL)")
        own.execute("CREATE PROCEDURE DBA.tidy() BEGIN END")
        own.stop()
        assert not own.running
        assert b"Evening" in own.database.read_bytes()
        own.start()
        assert own.execute("SELECT count(*) FROM DBA.patients") == [[4]]
        assert own.execute("SELECT proc_name FROM SYS.SYSPROCEDURE WHERE creator > 3") == [["tidy"]]

    def test_termination_signal_is_a_clean_stop(self, own: Production) -> None:
        own.execute("INSERT INTO DBA.patients VALUES (63, 'Night', NULL)")
        os.kill(own.pid, signal.SIGTERM)
        wait_for(lambda: not own.running)
        wait_for(lambda: b"Night" in own.database.read_bytes())

    def test_copy_taken_without_the_programs_does_not_start(self, shared: Production, tmp_path: Path) -> None:
        """A file copied from under the running server lacks its log."""
        for file in (shared.database, shared.dbspace):
            shutil.copy(file, tmp_path)
        assert start_code(shared.standin, tmp_path / "sosdata.db", "-ds", tmp_path) == 15


class TestHazards:
    def test_without_ds_a_copy_touches_productions_log(self, own: Production, tmp_path: Path) -> None:
        standin = own.standin
        copy = back_up(standin, tmp_path / "copy")
        before = digest(own.log)
        with scratch(standin, copy):
            assert digest(own.log) == before
        assert standin.events("load")[-1]["log"] == str(copy / "sosdata.log")
        shutil.rmtree(copy)
        back_up(standin, copy)
        before = digest(own.log)
        engine = [standin.program("dbeng"), "-n", "careless", "-x", "none", copy / "sosdata.db", "-n", "ds"]
        assert standin.run("dbspawn", "-f", *engine).returncode == 0
        assert digest(own.log) != before
        loaded = standin.events("load")[-1]
        assert (loaded["log"], loaded["spaces"]) == (str(own.log), [str(own.dbspace)])

    def test_dbf_without_a_server_name_loads_into_production(self, own: Production, tmp_path: Path) -> None:
        standin = own.standin
        copy = back_up(standin, tmp_path / "copy")
        string = f"UID=dba;PWD=sql;DBF={copy / 'sosdata.db'};DBN=ds;ASTART=NO"
        assert standin.run("dbping", "-d", "-c", string).returncode == 0
        loaded = standin.events("load")[-1]
        assert (loaded["server"], loaded["path"]) == ("SOSSERVER", str(copy / "sosdata.db"))

    def test_without_astart_no_a_typo_starts_an_engine(self, standin: StandIn, tmp_path: Path) -> None:
        alone = StandIn.install(tmp_path / "alone")
        with alone.production(tmp_path / "SOS", rows=5) as production:
            production.stop()
            string = f"SERVER=typo;UID=dba;PWD=sql;DBF={production.database}"
            assert alone.run("dbping", "-d", "-c", f"{string};ASTART=NO").returncode == 11
            assert alone.servers() == []
            assert alone.run("dbping", "-d", "-c", string).returncode == 0
            assert alone.servers() == ["typo"]
            assert alone.events("autostart", server="typo")
            assert alone.run("dbstop", "-y", "typo").returncode == 0

    def test_x_none_opens_no_port(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        with scratch(standin, copy) as server:
            assert standin.events("start", server=server)[0]["port"] is None
            assert odbc(standin, server)
        assert shared.port

    def test_dbspawn_without_f_starts_nothing_where_a_server_runs(
        self, shared: Production, tmp_path: Path
    ) -> None:
        done = shared.standin.run("dbspawn", shared.standin.program("dbeng"), "-n", "second")
        assert done.returncode == 0
        assert "second" not in shared.standin.servers()

    def test_ud_ends_before_the_start_was_tried(self, standin: StandIn, tmp_path: Path) -> None:
        log = tmp_path / "messages"
        done = standin.run("dbeng", "-ud", "-n", "daemon", "-o", log, tmp_path / "gone.db")
        assert done.returncode == 0
        wait_for(
            lambda: log.exists() and "stopped" not in standin.servers() and "Cannot open" in log.read_text()
        )

    def test_message_log(self, shared: Production, tmp_path: Path) -> None:
        copy = back_up(shared.standin, tmp_path / "copy")
        log = tmp_path / "messages"
        line = ["-n", "logged", "-x", "none", "-o", log, copy / "sosdata.db", "-n", "ds", "-ds", copy]
        shared.standin.run("dbspawn", "-f", shared.standin.program("dbeng"), *line)
        assert shared.standin.run("dbstop", "-y", "logged").returncode == 0
        assert "Now accepting requests" in log.read_text()


def validate(standin: StandIn, server: str, *options: str, user: str = "CHECKER") -> int:
    string = f"SERVER={server};UID={user};PWD={PASSWORDS[user]};ASTART=NO"
    return standin.run("dbvalid", *options, "-q", "-c", string).returncode


class TestValidation:
    def test_damaged_row_is_found_by_d_only(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        damage_row(copy / "sosdata.db")
        with scratch(standin, copy) as server:
            assert [validate(standin, server, *o) for o in ((), ("-d",), ("-s",))] == [0, 2, 2]

    def test_sound_copy_passes(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        with scratch(standin, copy) as server:
            assert [validate(standin, server, *o) for o in ((), ("-d",), ("patients",))] == [0, 0, 0]
            assert validate(standin, server, "no_such_table") == 1

    def test_damaged_structure_is_found_by_plain(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        data = bytearray((copy / "sosdata.db").read_bytes())
        page = data.index(b"same words", len(data) // 2) // 4096 * 4096
        data[page : page + 1] = b"\x63"
        (copy / "sosdata.db").write_bytes(data)
        code = standin.run(
            "dbspawn", "-f", standin.program("dbeng"), "-n", "torn", copy / "sosdata.db", "-ds", copy
        ).returncode
        if code == 0:
            code = validate(standin, "torn")
            standin.run("dbstop", "-y", "torn")
        assert code in (2, 17)

    def test_recovery_that_meets_a_damaged_page_is_fatal(self, own: Production, tmp_path: Path) -> None:
        standin, copy = own.standin, tmp_path / "copy"
        standin.fault("dbbackup", pause=0.1)
        with running_backup(standin, copy):
            own.execute("UPDATE DBA.left_half SET value = -1")
            own.execute("UPDATE DBA.right_half SET value = -1")
        damage_row(copy / "sosdata.db")
        assert start_code(standin, copy / "sosdata.db", "-ds", copy) == 17

    def test_database_without_checksums(self, tmp_path: Path) -> None:
        standin = StandIn.install(tmp_path / "sa")
        with standin.production(tmp_path / "SOS", rows=300, checksums=False):
            copy = back_up(standin, tmp_path / "copy")
            damage_row(copy / "sosdata.db")
            with scratch(standin, copy) as server:
                assert validate(standin, server, "-d") == 0


def offsets(standin: StandIn, log: Path) -> tuple[int, int]:
    told = standin.run("dblog", log).stdout
    return int(re.search(r"starting offset\D+(\d+)", told)[1]), int(
        re.search(r"ending offset\D+(\d+)", told)[1]
    )


class TestLogChain:
    def chain(self, production: Production, folder: Path) -> list[Path]:
        """A full backup that renamed the log, and two more logs; a transaction spans the last two."""
        standin = production.standin
        full = back_up(standin, folder / "full", "-r")
        production.execute("INSERT INTO DBA.patients VALUES (90, 'First log', NULL)")
        with production.client() as client:
            client.execute("BEGIN")
            client.execute("INSERT INTO DBA.patients VALUES (91, 'Spans', NULL)")
            first = back_up(standin, folder / "first", "-t", "-r")
            client.execute("INSERT INTO DBA.patients VALUES (92, 'Spans too', NULL)")
            client.execute("COMMIT")
        second = back_up(standin, folder / "second", "-t")
        return [full / "sosdata.log", first / "sosdata.log", second / "sosdata.log"]

    def ids(self, standin: StandIn, folder: Path) -> list[int]:
        with scratch(standin, folder) as server:
            rows = odbc(standin, server).execute("SELECT id FROM DBA.patients WHERE id >= 90 ORDER BY id")
            return [row[0] for row in rows.fetchall()]

    def test_next_start_is_previous_end(self, own: Production, tmp_path: Path) -> None:
        spans = [offsets(own.standin, log) for log in self.chain(own, tmp_path)]
        assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
        renamed = [file for file in own.folder.iterdir() if re.fullmatch(r"\d{6}[A-Z]{2}\.log", file.name)]
        assert len(renamed) == 2

    def test_ad_applies_all_by_offset_then_stops(self, own: Production, tmp_path: Path) -> None:
        standin, logs = own.standin, self.chain(own, tmp_path)
        folder = tmp_path / "logs"
        folder.mkdir()
        # The names and times say nothing: the offsets do.
        for name, log in zip(["c.log", "b.log", "a.log"], logs, strict=True):
            shutil.copyfile(log, folder / name)
        full = tmp_path / "full"
        assert start_code(standin, full / "sosdata.db", "-ds", full, "-ad", folder) == 0
        logs[0].unlink()
        assert self.ids(standin, full) == [90, 91, 92]

    def test_one_by_one_rolls_back_what_spans_logs(self, own: Production, tmp_path: Path) -> None:
        standin, logs = own.standin, self.chain(own, tmp_path)
        full = tmp_path / "full"
        for log in logs:
            assert start_code(standin, full / "sosdata.db", "-ds", full, "-a", log) == 0
        logs[0].unlink()
        assert self.ids(standin, full) == [90, 92]

    def test_gap_and_wrong_order_are_refused(self, own: Production, tmp_path: Path) -> None:
        standin, logs = own.standin, self.chain(own, tmp_path)
        full, folder = tmp_path / "full", tmp_path / "logs"
        folder.mkdir()
        for log in (logs[0], logs[2]):
            shutil.copyfile(log, folder / f"{log.parent.name}.log")
        before = digest(full / "sosdata.db")
        assert start_code(standin, full / "sosdata.db", "-ds", full, "-ad", folder) == 15
        assert start_code(standin, full / "sosdata.db", "-ds", full, "-a", logs[2]) == 15
        assert digest(full / "sosdata.db") == before

    def test_truncate_and_delete(self, own: Production, tmp_path: Path) -> None:
        standin = own.standin
        own.execute("INSERT INTO DBA.patients VALUES (90, 'In the log', NULL)")
        end = offsets(standin, back_up(standin, tmp_path / "a", "-x") / "sosdata.log")[1]
        assert offsets(standin, own.log)[0] == end
        assert b"In the log" not in own.log.read_bytes()
        back_up(standin, tmp_path / "b", "-xo")
        assert list((tmp_path / "b").iterdir()) == []
        assert offsets(standin, own.log)[0] > end

    def test_server_that_renamed_its_log_recovers(self, own: Production, tmp_path: Path) -> None:
        back_up(own.standin, tmp_path / "a", "-r")
        own.execute("INSERT INTO DBA.patients VALUES (90, 'After', NULL)")
        own.kill()
        own.start()
        assert own.execute("SELECT count(*) FROM DBA.patients WHERE id = 90") == [[1]]

    def test_dblog_tells_and_changes_the_log_of_a_database(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        assert str(shared.log) in standin.run("dblog", copy / "sosdata.db").stdout
        assert standin.run("dblog", "-t", copy / "sosdata.log", copy / "sosdata.db").returncode == 0
        assert str(copy / "sosdata.log") in standin.run("dblog", copy / "sosdata.db").stdout
        assert standin.run("dblog", shared.database).returncode == 16


class TestOdbc:
    def test_user_tables_and_qualified_counts(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        with scratch(standin, copy) as server:
            connection = odbc(standin, server, autocommit=True)
            found = {tuple(row) for row in connection.execute(TABLES).fetchall()}
            assert {("DBA", "patients"), ("DBA", "notes"), ("sos", "notes"), ("sos", "documents")} < found
            assert one(connection, 'SELECT COUNT(*) FROM "DBA"."notes"') == 1
            assert one(connection, 'SELECT COUNT(*) FROM "sos"."notes"') == 3
            assert not {"SYS", "dbo"} & {owner for owner, _ in found}
            assert one(connection, "SELECT COUNT(*) FROM SYS.SYSTAB WHERE creator IN (0, 3)") == 5

    def test_values(self, shared: Production) -> None:
        connection = shared.odbc("READER")
        assert one(connection, "SELECT name FROM DBA.patients WHERE id = 1") == "Ada Müller"
        assert one(connection, "SELECT content FROM sos.documents WHERE id = 1") == b"\x00\xff\x10"
        assert one(connection, "SELECT COUNT(*) FROM SYS.SYSTRIGGER") == 1
        views = "SELECT t.table_name FROM SYS.SYSVIEW v JOIN SYS.SYSTAB t ON t.object_id = v.view_object_id"
        assert one(connection, f"{views} WHERE t.creator > 3") == "recent_visits"
        assert one(connection, "SELECT DB_PROPERTY('LogName')") == str(shared.log)
        assert connection.getinfo(17) == "SQL Anywhere"

    def test_production_is_current_and_read_only(self, shared: Production) -> None:
        connection = shared.odbc()
        shared.execute("INSERT INTO sos.documents VALUES (70, 1, 'new', NULL)")
        assert one(connection, "SELECT name FROM sos.documents WHERE id = 70") == "new"
        with pytest.raises(Exception, match="42000"):
            connection.execute("DELETE FROM sos.documents")

    def test_refusals(self, shared: Production) -> None:
        with pytest.raises(Exception, match="08001"):
            odbc(shared.standin, "nobody")
        with pytest.raises(Exception, match="28000"):
            odbc(shared.standin, shared.server, "uid=dba;pwd=SQL")
        with pytest.raises(Exception, match="42S02"):
            shared.odbc().execute("SELECT * FROM DBA.no_such_table")

    def test_count_of_systab_moves_only_at_checkpoints(self, own: Production) -> None:
        sql = "SELECT t.count FROM SYS.SYSTAB t WHERE t.table_name = 'patients'"
        own.execute("INSERT INTO DBA.patients VALUES (71, 'x', NULL)")
        assert one(own.odbc(), sql) == 3
        own.execute("CHECKPOINT")
        assert one(own.odbc(), sql) == 4

    def test_dba_can_have_the_number_1(self, tmp_path: Path) -> None:
        """Then the query for user tables leaves out what DBA owns."""
        standin = StandIn.install(tmp_path / "sa")
        with standin.production(tmp_path / "SOS", rows=5, dba_id=1) as production:
            found = production.execute(TABLES)
            assert {owner for owner, _ in found} == {"sos"}


class TestMachine:
    def test_other_folder_and_cleaned_environment(self, shared: Production, tmp_path: Path) -> None:
        """As the adapter runs programs: at the end of a leash, with little of the environment."""
        done = run_program(
            [shared.standin.program("dbbackup"), "-y", tmp_path / "copy"],
            environment={"SQLCONNECT": f"{BACKUP_USER};ASTART=NO"},
            folder=tmp_path,
        )
        assert done.code == 0
        called = shared.standin.events("call")[-1]
        assert "SQLCONNECT" in called["environment"]
        assert "PYTEST_CURRENT_TEST" not in called["environment"]
        assert called["folder"] == str(tmp_path)
        assert "PASSword#1" not in str(called["arguments"])

    def test_two_versions_share_a_machine(self, shared: Production, tmp_path: Path) -> None:
        other = StandIn.install(tmp_path / "sa12", version=12, machine=shared.standin.site.machine)
        assert shared.server in other.servers()
        assert other.run("dbping", "-d", "-c", shared.string()).returncode == 0

    def test_dbstop_waits_for_the_end(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        standin.fault("dbeng", slow_stop=0.3)
        with scratch(standin, copy) as server:
            pid = standin.events("start", server=server)[0]["pid"]
        assert standin.events("exit", pid=pid) or not Path("/proc", str(pid)).exists()
        assert standin.run("dbstop", "-y", server).returncode == 11

    def test_dbstop_asks_where_there_are_connections(self, shared: Production, tmp_path: Path) -> None:
        standin, copy = shared.standin, back_up(shared.standin, tmp_path / "copy")
        with scratch(standin, copy) as server, Client(standin.folder, f"SERVER={server};UID=dba;PWD=sql"):
            assert standin.run("dbstop", server).returncode == 5
            assert standin.run("dbstop", "-x", server).returncode == 1

    def test_dbping_reaches_server_or_database(self, shared: Production) -> None:
        run = shared.standin.run
        assert run("dbping", "-c", "SERVER=SOSSERVER;DBN=none").returncode == 0
        assert run("dbping", "-d", "-c", "SERVER=SOSSERVER;DBN=none;UID=dba;PWD=sql").returncode == 10
        assert run("dbping", "-c", "SERVER=none").returncode == 11

    def test_dbinfo(self, shared: Production) -> None:
        told = shared.standin.run("dbinfo", "-c", BACKUP_USER)
        assert "4096" in told.stdout

    def test_client_gets_failures(self, shared: Production) -> None:
        with pytest.raises(Failure, match="password"):
            Client(shared.standin.folder, "SERVER=SOSSERVER;UID=dba;PWD=no")
