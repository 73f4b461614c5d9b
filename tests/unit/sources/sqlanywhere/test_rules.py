"""SQL Anywhere: connection strings, exit codes, places, dblog's words: all that needs no engine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError as OptionsError

from tasks.errors import CopyError, SourceError, SourceMissing, ValidationError
from tasks.sources.base import quoted
from tasks.sources.sqlanywhere.catalog import definitions
from tasks.sources.sqlanywhere.check import (
    DatabaseFacts,
    base_name,
    grants_for,
    refuse_elsewhere,
    same_machine,
)
from tasks.sources.sqlanywhere.connection import (
    Address,
    Client,
    Login,
    connection_string,
    scratch_address,
    usable,
)
from tasks.sources.sqlanywhere.copy import RECORD, read_record
from tasks.sources.sqlanywhere.errors import FAULTS, cause_of, failure, fault_of, odbc_failure
from tasks.sources.sqlanywhere.logs import LogFile, following, parse_offsets
from tasks.sources.sqlanywhere.programs import TOOLS, Install, find_any_install, find_install
from tasks.sources.sqlanywhere.source import SqlanywhereOptions, SqlanywhereSource

LISTED = [*range(1, 22), 255]
BILL = Login("BU_BILL", "PASSword#1")


def options(**more: object) -> SqlanywhereOptions:
    return SqlanywhereOptions.model_validate({"user": "BU_BILL", "password": "env:PW", **more})


class TestExitCodes:
    def test_every_code_that_sap_lists_has_its_own_message(self) -> None:
        assert sorted(FAULTS) == LISTED
        assert len({fault.cause for fault in FAULTS.values()}) == len(LISTED)
        assert len({cause_of("dbbackup", code) for code in LISTED}) == len(LISTED)
        assert all(fault.hint.endswith(".") and "\n" not in fault.hint for fault in FAULTS.values())

    @pytest.mark.parametrize("code", LISTED)
    def test_each_is_a_failure_with_what_to_do(self, code: int) -> None:
        error = failure("cannot copy", "dbbackup", code, CopyError)
        assert isinstance(error, SourceMissing if code in (10, 11) else CopyError)
        assert f"ended with code {code}" in error.message
        assert error.hint
        assert error.permanent is FAULTS[code].permanent

    @pytest.mark.parametrize(("code", "word"), [(77, "not one that"), (137, "signal 9"), (-1, "not one")])
    def test_an_unknown_code_is_a_failure_too(self, code: int, word: str) -> None:
        assert word in fault_of(code).cause


class TestConnectionStrings:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            (Address(17, dsn="SOSDATA"), "DSN=SOSDATA"),
            (Address(17, server="s", database="d"), "SERVER=s;DBN=d"),
            (Address(12, server="s"), "SERVER=s"),
            (Address(11, server="s", database="d"), "ENG=s;DBN=d"),
            (Address(17, server="s", host="here:2638"), "SERVER=s;HOST=here:2638"),
            (Address(16, server="s", host="here"), "SERVER=s;HOST=here"),
            (Address(12, server="s", host="here:2638"), "SERVER=s;LINKS=tcpip(host=here;port=2638)"),
            (Address(11, server="s", host="here"), "ENG=s;LINKS=tcpip(host=here)"),
        ],
    )
    def test_keys_by_version(self, address: Address, expected: str) -> None:
        assert connection_string(address.pairs) == f"{expected};ASTART=NO"

    @pytest.mark.parametrize(
        "value",
        ["x1y2;z", " x1y2", "'x1y2", '"x1y2', "x1y2 ", "", "{x1y2}", "x1}y2", "x1\ny2", "x1\0y2"],
    )
    def test_values_that_cannot_be_held(self, value: str) -> None:
        with pytest.raises(SourceError) as caught:
            usable("password", value, secret=True)
        assert caught.value.hint
        assert "x1" not in str(caught.value)
        with pytest.raises(SourceError):
            connection_string(Login("BU_BILL", value).pairs)
        with pytest.raises(SourceError):
            connection_string(Login(value, "x").pairs)

    @pytest.mark.parametrize("value", ["PASSword#1", "a=b", "a'b", "ü(1)", "a b", "%PATH%", "$HOME", "a,b"])
    def test_values_that_can(self, value: str) -> None:
        assert connection_string(Login("u", value).pairs) == f"UID=u;PWD={value};ASTART=NO"

    @pytest.mark.parametrize(
        "pairs",
        [
            [("UID", "a"), ("uid", "b")],
            [("UID", "a"), ("UserID", "b")],
            [("ENG", "a"), ("SERVER", "b")],
            [("AutoStart", "YES")],
            [("LINKS", "a"), ("CommLinks", "b")],
        ],
    )
    def test_no_key_twice_under_any_name(self, pairs: list[tuple[str, str]]) -> None:
        with pytest.raises(SourceError, match="twice"):
            connection_string(pairs)

    @pytest.mark.parametrize("key", ["DBF", "dbf", "DatabaseFile"])
    def test_never_a_database_file(self, key: str) -> None:
        with pytest.raises(SourceError, match="database file"):
            connection_string([("SERVER", "s"), (key, "x.db")])

    @pytest.mark.parametrize("host", ["a;b", "a)(b", "a:b", "a b", "a:123456"])
    def test_hosts_that_are_none(self, host: str) -> None:
        with pytest.raises(SourceError):
            _ = Address(12, server="s", host=host).pairs

    def test_a_scratch_engine_is_reached_by_its_name_alone(self) -> None:
        assert connection_string(scratch_address("ds_1", 17).pairs) == "SERVER=ds_1;DBN=ds;ASTART=NO"

    def test_tools_get_it_by_their_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SATMP", "/var/sa")
        install = Install(Path("/opt/sqlanywhere17"), Path("/opt/sqlanywhere17/bin64"), 17, "SQL Anywhere 17")
        environment = Client(install, Address(17, dsn="SOSDATA"), BILL).environment
        assert environment["SQLCONNECT"] == "DSN=SOSDATA;UID=BU_BILL;PWD=PASSword#1;ASTART=NO"
        assert environment["SQLANY17"] == "/opt/sqlanywhere17"
        assert environment["LD_LIBRARY_PATH"] == "/opt/sqlanywhere17/lib64"
        assert environment["SATMP"] == "/var/sa"

    def test_a_login_prints_without_its_password(self) -> None:
        assert "PASSword#1" not in repr(BILL)

    def test_what_odbc_says_is_told_by_its_state_alone(self) -> None:
        error = odbc_failure("cannot ask", Exception("28000", "[SAP] user 'x' password 'y' Müller, Ada"))
        assert error.message == "cannot ask: user or password were refused (SQLSTATE 28000)"
        assert isinstance(odbc_failure("x", Exception("08001", "?")), SourceMissing)
        assert "Müller" not in str(odbc_failure("x", Exception("Müller")))


class TestOptions:
    def test_the_least_that_is_needed(self) -> None:
        assert options(dsn="SOSDATA").version == 17

    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"dsn": "S", "read_user": "x"},
            {"dsn": "S", "read_password": "env:X"},
            {"dsn": "S", "version": 10},
            {"dsn": "S", "password": "PASSword#1"},
            {"dsn": "S", "restart": {"stop": [], "start": ["x"]}},
            {"dsn": "S", "directory": "/x"},
        ],
    )
    def test_refused(self, more: dict[str, object]) -> None:
        with pytest.raises(OptionsError):
            options(**more)

    @pytest.mark.parametrize("call", [SqlanywhereSource.restart, SqlanywhereSource.back_up_log])
    def test_what_the_plan_does_not_say(self, call: Callable[[SqlanywhereSource], object]) -> None:
        with pytest.raises(SourceError, match="the plan does not say"):
            call(SqlanywhereSource(options(dsn="S")))


class TestInstallation:
    def _make(self, folder: Path, version: int, without: str = "") -> Path:
        programs = folder / "bin64"
        programs.mkdir(parents=True)
        for name in (*TOOLS, f"dbeng{version}"):
            if name != without:
                (programs / name).touch()
        return folder

    def test_programs_come_from_the_folder_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decoy, wanted = self._make(tmp_path / "other", 12), self._make(tmp_path / "wanted", 17)
        monkeypatch.setenv("PATH", str(decoy / "bin64"))
        install = find_install(wanted, 17)
        assert {install.program(name).parent for name in TOOLS} == {wanted / "bin64"}
        assert install.engine == wanted / "bin64" / "dbeng17"

    @pytest.mark.parametrize("name", TOOLS)
    def test_an_incomplete_one_names_what_it_lacks(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=f"{'no dbbackup' if name == 'dbbackup' else name}"):
            find_install(self._make(tmp_path / "x", 17, without=name), 17)

    def test_without_an_engine_of_the_version(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="dbeng17 or dbsrv17"):
            find_install(self._make(tmp_path / "x", 12), 17)

    def test_by_the_variable_of_its_version(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SQLANY12", str(self._make(tmp_path / "x", 12)))
        assert find_install(None, 12).folder == tmp_path / "x"

    def test_a_copy_is_opened_by_its_own_version_or_a_newer_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for version in (11, 12, 16, 17):
            monkeypatch.setenv(f"SQLANY{version}", str(tmp_path / "nothing"))
        monkeypatch.setenv("SQLANY16", str(self._make(tmp_path / "x", 16)))
        assert find_any_install(11).version == find_any_install(16).version == 16
        with pytest.raises(SourceError, match="SQL Anywhere 17 is not on this machine"):
            find_any_install(17)


class TestPlaces:
    @pytest.mark.parametrize(
        ("told", "own", "same"),
        [
            ("FRONTDESK", "frontdesk", True),
            ("frontdesk", "frontdesk.office.example", True),
            ("FRONTDESK-OFFIC", "frontdesk-office-2", True),
            ("FRONT", "frontdesk", False),
            ("SERVER", "frontdesk", False),
        ],
    )
    def test_machines(self, told: str, own: str, same: bool) -> None:
        assert same_machine(told, own) is same

    def test_an_engine_that_names_another_computer(self) -> None:
        install = Install(Path("/nowhere"), Path("/nowhere/bin64"), 17, "SQL Anywhere 17")
        facts = DatabaseFacts(version="17", machine="FILESERVER", file=None, log=None, bytes=0)
        with pytest.raises(SourceError, match="runs on FILESERVER, not on this one") as caught:
            refuse_elsewhere(Client(install, Address(17, dsn="SOSDATA")), facts)
        assert "computer that runs the database" in caught.value.hint
        refuse_elsewhere(
            Client(install, Address(17, dsn="SOSDATA")), replace(facts, machine=socket.gethostname())
        )

    def test_base_names_of_either_system(self) -> None:
        assert base_name(r"C:\SOS\DATA\sosdata.db") == base_name("/srv/sos/sosdata.db") == "sosdata.db"


class TestLogs:
    @pytest.mark.parametrize(
        ("text", "offsets"),
        [
            ("starting offset is 0000402134\ncurrent relative offset is 0000000900\n", (402134, 403034)),
            ("beginnt bei 0000402134\nendet bei 0000403034\n", (402134, 403034)),
            ("0000402134 0000000900 0000403034", (402134, 403034)),
            ("/x/2099123456789/a.log: 0000402134, 0000000000", (402134, 402134)),
            ("offset 0000402134", None),
            ("0000402134 0000001000000000", None),
            ("0000402134 0000402000", None),
            ("nothing", None),
        ],
    )
    def test_offsets_in_any_language(self, text: str, offsets: tuple[int, int] | None) -> None:
        assert parse_offsets(text, Path("/x/2099123456789/a.log"), 10_000) == offsets

    def log(self, start: int, end: int) -> LogFile:
        return LogFile(Path(f"{start}.log"), start, end)

    def test_a_later_state_of_the_own_log_takes_its_place(self) -> None:
        own, chain = self.log(100, 250), [self.log(*span) for span in ((0, 100), (100, 300), (300, 400))]
        assert following(own, chain) == chain[1:]

    def test_a_chain_that_goes_on_where_it_ends_is_applied_after_it(self) -> None:
        own, chain = self.log(100, 250), [self.log(250, 300)]
        assert following(own, chain) == [own, *chain]

    @pytest.mark.parametrize("spans", [[], [(0, 100)], [(100, 250)], [(100, 200)]])
    def test_nothing_newer(self, spans: list[tuple[int, int]]) -> None:
        assert following(self.log(100, 250), [self.log(*span) for span in spans]) == []

    @pytest.mark.parametrize(
        "spans",
        [
            [(300, 400)],
            [(200, 400)],
            [(99, 400)],
            [(100, 300), (301, 400)],
            [(100, 300), (299, 400)],
            [(100, 300), (100, 300)],
        ],
    )
    def test_a_gap(self, spans: list[tuple[int, int]]) -> None:
        with pytest.raises(SourceError, match="gap"):
            following(self.log(100, 250), [self.log(*span) for span in spans])


class TestTexts:
    def test_grants_by_version(self) -> None:
        assert "GRANT ROLE SYS_AUTH_BACKUP_ROLE TO BU_BILL WITH NO ADMIN OPTION;" in grants_for(
            17, "BU_BILL", "R"
        )
        assert "GRANT ROLE SYS_AUTH_VALIDATE_ROLE TO R WITH NO ADMIN OPTION;" in grants_for(
            16, "BU_BILL", "R"
        )
        assert "GRANT BACKUP TO BU_BILL;" in grants_for(12, "BU_BILL", "R")
        assert "Backup Users" in SqlanywhereSource(options(dsn="S", version=11)).grants()

    def test_identifiers(self) -> None:
        assert quoted('a"b') == '"a""b"'
        assert [table.name for table in definitions()] == ["(procedures)", "(triggers)", "(views)"]

    @pytest.mark.parametrize(
        "text",
        [None, "", "{}", '{"format": 2}', "not json"],
        ids=["none", "empty", "bare", "newer", "no json"],
    )
    def test_a_note_that_makes_no_sense(self, text: str | None, tmp_path: Path) -> None:
        if text is not None:
            (tmp_path / RECORD).write_text(text)
        with pytest.raises(ValidationError, match="is no SQL Anywhere copy"):
            read_record(tmp_path)
