"""What a plan may say, and in what words it is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from tasks.errors import PlanError
from tasks.options import Keep, Options
from tasks.plan.document import LARGEST
from tasks.plan.load import Kinds, check_plan, load_plan, plan_model
from tasks.plan.model import TargetEntry
from tasks.targets.folder.target import FolderOptions
from tasks.targets.registry import make_target
from tests.unit.plan.material import CLASSIC, FOLDER, GOOD, HYBRID, KINDS, REGISTERED, check, good, place

REMOVE = object()


def spoilt(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    data = good()
    if value is REMOVE:
        del place(data, *path[:-1])[path[-1]]
    else:
        place(data, *path[:-1])[path[-1]] = value
    return data


def refusal(data: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        check(data)
    return caught.value


def test_the_whole_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    path.write_text(yaml.safe_dump(GOOD), "utf-8")
    plan = load_plan(path, KINDS)
    assert plan.name == "front-office"
    assert plan.source.kind == "sqlite"
    assert plan.source.path == tmp_path / "clinic.db"  # type: ignore[attr-defined]
    assert [holder.name for holder in plan.holders] == ["Owner", "Bank safe"]
    assert [target.name for target in plan.targets] == ["nas", "drive", "vault"]
    assert plan.schedule.drill == "0 6 * * sun"
    assert plan.schedule.timezone == "America/New_York"
    assert plan.drill.target == "drive"
    assert plan.drill.identity == f"file:{tmp_path / 'keys/drill.txt'}"
    assert plan.checks[0].as_ == "age_days"
    assert plan.checks[0].expect.kwargs == {"min_value": -1, "max_value": 3}
    assert (plan.archive.level, plan.archive.threads) == (9, 2)
    assert plan.state == tmp_path / "state"
    assert plan.signers == ("ed25519:" + "A" * 43 + "=",)


def test_the_shortest_plan_gets_the_defaults() -> None:
    data = {key: good()[key] for key in ("name", "source", "holders")}
    data["targets"] = [{"name": "nas", "kind": "folder", "path": "nas"}]
    plan = check(data)
    assert (plan.schedule.backup, plan.schedule.drill, plan.schedule.audit) == (None, None, None)
    assert plan.schedule.timezone == "UTC"
    assert (plan.drill.target, plan.drill.identity) == (None, None)
    assert (plan.archive.level, plan.archive.threads) == (3, 0)
    assert plan.state == FOLDER / ".datasave" / "plans.d" / "front-office"
    assert (plan.checks, plan.signers) == ((), ())
    assert plan.targets[0].keep == Keep(last=7, weekly=4, monthly=12)
    assert (plan.targets[0].slots, plan.targets[0].floor) == (None, 3)


def test_what_is_kept() -> None:
    slotted, ruled, forever = check(GOOD).targets
    assert slotted.keep == Keep(last=1)
    assert ruled.keep == Keep(last=4, yearly=2)
    assert forever.keep == Keep(forever=True)


def test_a_target_entry_makes_its_target(tmp_path: Path) -> None:
    entry = check(spoilt(("targets", 0, "path"), str(tmp_path / "nas"))).targets[0]
    assert isinstance(entry, TargetEntry)
    assert isinstance(entry, FolderOptions)
    target = make_target(entry.name, entry)
    assert (target.name, target.kind) == ("nas", "folder")
    assert target.prepare()
    assert (tmp_path / "nas").is_dir()


def test_one_adapter_of_each_is_enough() -> None:
    data = good()
    data["targets"].pop()
    assert check(data, REGISTERED).source.kind == "sqlite"
    with pytest.raises(PlanError, match=r"`cloud` is no kind there is; available: .*folder"):
        check(GOOD, REGISTERED)


def test_an_adapter_cannot_take_over_a_common_option() -> None:
    class Greedy(Options):
        kind: Literal["greedy"]
        keep: int = 1

    with pytest.raises(ValueError, match=r"Greedy declares options that every target has: \['keep'\]"):
        plan_model(Kinds(sources=KINDS.sources, targets={"greedy": Greedy}))


@pytest.mark.parametrize(
    ("written", "expected"),
    [("sub/../clinic.db", FOLDER / "sub/../clinic.db"), ("~/clinic.db", Path.home() / "clinic.db")],
)
def test_relative_paths_start_at_the_plan(written: str, expected: Path) -> None:
    assert check(spoilt(("source", "path"), written)).source.path == expected  # type: ignore[attr-defined]


def test_absolute_paths_stay() -> None:
    elsewhere = (FOLDER.parent / "elsewhere").absolute()
    assert check(spoilt(("targets", 1, "path"), str(elsewhere))).targets[1].path == elsewhere  # type: ignore[attr-defined]


def test_the_folder_is_the_plans_own_also_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "office.yaml").write_text(yaml.safe_dump(GOOD), "utf-8")
    monkeypatch.chdir(tmp_path)
    plan = load_plan(Path("plans/office.yaml"), KINDS)
    assert plan.state == tmp_path / "plans" / "state"


def test_groups_with_every_line_switched_off_are_defaults() -> None:
    data = good() | {"schedule": None, "drill": None, "archive": None}
    plan = check(data)
    assert plan.schedule.timezone == "UTC"
    assert plan.archive.level == 3


PLAN_NAME = "must be 1 to 41 of a-z, 0-9 and -, and not begin with -"
RECIPIENT = "is not a recipient of age (age1… or age1pq1…), or was not copied whole"
REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("name",), "Front Office", f"name: {PLAN_NAME}"),
    (("name",), "-x", f"name: {PLAN_NAME}"),
    (("name",), "x" * 42, f"name: {PLAN_NAME}"),
    (("name",), "x\n", f"name: {PLAN_NAME}"),
    (("name",), "com1", "name: is a name that Windows keeps for itself; choose another"),
    (("name",), 7, "name: must be text; put it in quotes"),
    (("name",), None, "name: is empty; give it a value or remove the line"),
    (("name",), REMOVE, "name: is missing"),
    (("source",), REMOVE, "source: is missing"),
    (("source",), "clinic.db", "source: must be a group of `option: value` lines"),
    (("source", "kind"), REMOVE, "source.kind: is missing; available: server, sqlite"),
    (
        ("source", "kind"),
        ["sqlite"],
        "source.kind: must be text; put it in quotes; available: server, sqlite",
    ),
    (
        ("source", "kind"),
        "sqllite",
        "source.kind: `sqllite` is no kind there is; available: server, sqlite; did you mean `sqlite`?",
    ),
    (("source", "path"), REMOVE, "source.path: is missing"),
    (("source", "path"), 5, "source.path: must be text; put it in quotes"),
    (
        ("source", "path"),
        "C:\new",
        "source.path: a path cannot hold control characters; put it in single quotes, not in double ones",
    ),
    (("source", "pathh"), "x", "unknown option `pathh` in source; did you mean `path`?"),
    (("holders",), REMOVE, "holders: is missing"),
    (("holders",), [], "holders: needs at least 1"),
    (("holders",), "Owner", 'holders: must be a list of lines that begin with "- "'),
    (("holders", 0), "Owner", "holders[0]: must be a group of `option: value` lines"),
    (("holders", 0, "name"), " ", "holders[0].name: must be a name of 1 to 80 characters on one line"),
    (("holders", 0, "name"), "a\nb", "holders[0].name: must be a name of 1 to 80 characters on one line"),
    (("holders", 1, "name"), "OWNER", "holders[1].name: has the same name as one before it"),
    (("holders", 1, "recipient"), CLASSIC, "holders: two holders have the same recipient"),
    (("holders", 1, "recipient"), CLASSIC[:-1], f"holders[1].recipient: {RECIPIENT}"),
    (("holders", 1, "recipient"), CLASSIC.upper(), f"holders[1].recipient: {RECIPIENT}"),
    (("holders", 1, "recipient"), CLASSIC + "\n", f"holders[1].recipient: {RECIPIENT}"),
    (("holders", 1, "recipient"), HYBRID[:-1], f"holders[1].recipient: {RECIPIENT}"),
    (
        ("holders", 1, "recipient"),
        "AGE-SECRET-KEY-1QQQQ",
        "holders[1].recipient: is a private key, which never stands in a plan",
    ),
    (
        ("holders", 1, "recipient"),
        HYBRID,
        "holders: classic (age1…) and post-quantum (age1pq1…) recipients cannot be mixed",
    ),
    (("targets",), [], "targets: needs at least 1"),
    (("targets",), None, "targets: is empty; give it a value or remove the line"),
    (
        ("targets", 0, "name"),
        "../nas",
        "targets[0].name: must be 1 to 41 of A-Z, a-z, 0-9, - and _, and not begin with - or _",
    ),
    (("targets", 1, "name"), "NAS", "targets[1].name: has the same name as one before it"),
    (("targets", 0, "slots"), "weekly", "targets[0].slots: must be 'weekday'"),
    (("targets", 2, "bucket"), REMOVE, "targets[2].bucket: is missing"),
    (("targets", 2, "retentoin"), 5, "unknown option `retentoin` in targets[2]; did you mean `retention`?"),
    (("targets", 0, "retention"), 5, "unknown option `retention` in targets[0]"),
    (("targets", 0, "hipaa"), True, "unknown option `hipaa` in targets[0]"),
    (("targets", 1, "floor"), 0, "targets[1].floor: must be at least 1"),
    (("targets", 1, "floor"), 1.5, "targets[1].floor: must be a whole number"),
    (("targets", 1, "keep"), 7, "targets[1].keep: must be `forever` or rules such as {last: 7, weekly: 4}"),
    (
        ("targets", 1, "keep"),
        "ever",
        "targets[1].keep: must be `forever` or rules such as {last: 7, weekly: 4}",
    ),
    (
        ("targets", 1, "keep"),
        None,
        "targets[1].keep: must be `forever` or rules such as {last: 7, weekly: 4}",
    ),
    (
        ("targets", 1, "keep"),
        {"last": 0},
        "targets[1].keep: keeps nothing: give at least one rule above 0, or `keep: forever`",
    ),
    (("targets", 1, "keep"), {"last": -1}, "targets[1].keep.last: must be at least 0"),
    (
        ("targets", 1, "keep"),
        {"monthy": 1},
        "unknown option `monthy` in targets[1].keep; did you mean `monthly`?",
    ),
    (
        ("schedule", "backup"),
        "0 2 * *",
        "schedule.backup: must have five parts: minute, hour, day of the month, month, day of the week",
    ),
    (
        ("schedule", "timezone"),
        "Office",
        "schedule.timezone: is not the name of a time zone, such as America/New_York",
    ),
    (
        ("schedule", "timezone"),
        "America/NewYork",
        "schedule.timezone: is not the name of a time zone, such as America/New_York; "
        "did you mean `America/New_York`?",
    ),
    (
        ("schedule", "timezone"),
        "../../etc/passwd",
        "schedule.timezone: is not the name of a time zone, such as America/New_York",
    ),
    (("drill", "target"), "tape", "drill.target: is not the name of a target"),
    (("drill", "identity"), "AGE-SECRET-KEY-1QQQQ", "drill.identity: is not a reference to a secret"),
    (("drill", "identity"), REMOVE, "drill.identity: is missing, and schedule.drill is set"),
    (("checks", 0, "as"), "date", "checks[0].as: must be 'number', 'age_days' or 'text'"),
    (("checks", 0, "title"), "", "checks[0].title: must not be empty"),
    (("checks", 0, "expect", "typ"), "x", "unknown option `typ` in checks[0].expect; did you mean `type`?"),
    (("archive", "level"), 20, "archive.level: must be at most 19"),
    (("archive", "level"), "high", "archive.level: must be a whole number"),
    (("archive", "threads"), -1, "archive.threads: must be at least 0"),
    (("signers", 0), "ed25519:short", "signers[0]: is not the public key of a machine (ed25519:…)"),
    (
        ("signers", 0),
        "ed25519:" + "A" * 42 + "B=",
        "signers[0]: is not the public key of a machine (ed25519:…)",
    ),
    (("notice",), {}, "unknown option `notice`; did you mean `notices`?"),
    (("shedule",), {}, "unknown option `shedule`; did you mean `schedule`?"),
    (("a\x1b[2J\nb",), 1, "unknown option `a\\x1b[2J\\nb`"),
    (("k" * 500,), 1, f"unknown option `{'k' * 60}…`"),
]


@pytest.mark.parametrize(("path", "value", "line"), REFUSED)
def test_a_fault_has_one_line_with_its_place(path: tuple[str | int, ...], value: Any, line: str) -> None:
    error = refusal(spoilt(path, value))
    assert error.message == f"office.yaml: {line}"
    assert not error.message.endswith(".")


@pytest.mark.skipif(os.name != "posix", reason="Windows guesses other people's home folders")
@pytest.mark.parametrize(
    ("path", "prefix"), [(("state",), ""), (("targets", 1, "path"), ""), (("drill", "identity"), "file:")]
)
def test_a_home_that_nobody_has(path: tuple[str | int, ...], prefix: str) -> None:
    error = refusal(spoilt(path, f"{prefix}~nosuchuser/x"))
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    assert error.message == f"office.yaml: {dotted}: the home folder that ~ stands for is not known"


def test_all_faults_are_told_at_once() -> None:
    data = good()
    data["name"] = "Front"
    data["retention"] = 5
    data["holders"][0]["recipient"] = "AGE-SECRET-KEY-1QQQQ"
    data["holders"][1]["recipient"] = "age1"
    data["targets"][2]["kind"] = "clowd"
    del data["targets"][0]["path"]
    data["archive"]["level"] = 0
    error = refusal(data)
    assert error.message.splitlines() == [
        f"office.yaml: name: {PLAN_NAME}",
        "office.yaml: holders[0].recipient: is a private key, which never stands in a plan",
        f"office.yaml: holders[1].recipient: {RECIPIENT}",
        "office.yaml: targets[0].path: is missing",
        "office.yaml: targets[2].kind: `clowd` is no kind there is; available: cloud, folder; "
        "did you mean `cloud`?",
        "office.yaml: archive.level: must be at least 1",
        "office.yaml: unknown option `retention`",
    ]
    assert error.hint.startswith("Give the public half (age1…) of a new key")
    assert "Copy the whole text that begins with age1" in error.hint


def test_post_quantum_holders_among_themselves() -> None:
    data = good()
    data["holders"] = [{"name": "Owner", "recipient": HYBRID}]
    assert check(data).holders[0].recipient == HYBRID


def test_a_drill_by_hand_needs_no_identity() -> None:
    data = spoilt(("drill", "identity"), REMOVE)
    del data["schedule"]["drill"]
    assert check(data).drill.identity is None


YAML_FAULTS = [
    ("", "it is empty", ""),
    ("# nothing yet\n", "it is empty", ""),
    ("just a text", "it holds no options", ""),
    ("- a\n- b\n", "it holds no options", ""),
    ("name: a\nname: b\n", "line 2, column 1: the option `name` is given twice", ""),
    ("source: {kind: a, path: b, kind: c}\n", "line 1, column 28: the option `kind` is given twice", ""),
    ("name: x\non: 1\n", "line 2, column 1: the name of an option must be text; put it in quotes", ""),
    ("1: x\n", "line 1, column 1: the name of an option must be text; put it in quotes", ""),
    ("[a]: x\n", "line 1, column 1: the name of an option must be text; put it in quotes", ""),
    ("<<: {a: 1}\n", "line 1, column 1: the name of an option must be text; put it in quotes", ""),
    (
        "a: &x 1\nb: *x\n",
        "line 2, column 4: aliases are not supported; a text that begins with * needs quotes",
        "",
    ),
    (
        "a: *hunter2\n",
        "line 1, column 4: aliases are not supported; a text that begins with * needs quotes",
        "hunter2",
    ),
    (
        "a: !hunter2 x\n",
        "line 1, column 4: tags are not supported; a text that begins with ! needs quotes",
        "hunter2",
    ),
    ("a: !!python/object:os.system x\n", "line 1, column 4: tags are not supported", ""),
    ("name: a: b\n", "line 1, column 8: a colon is not expected here", ""),
    ("name: x\n\tsource: y\n", "line 2, column 1: a tab; indent with spaces", ""),
    (
        "a:\n  b: hunter2\n c: d\n",
        "line 3, column 2: the indentation does not fit the lines above",
        "hunter2",
    ),
    ("a: [1, 2\nb: 3\n", "line 2, column 2: a comma or a closing bracket is missing", ""),
    ("a: 'hunter2\n", "line 2, column 1: a quote that is never closed", "hunter2"),
    ("a: %hunter2\n", "line 1, column 4: a text that begins with this character needs quotes", "hunter2"),
    ('a: "C:\\clinic"\n', "line 1, column 8: a backslash in double quotes; use single quotes", ""),
    ("a: 1\n---\nb: 2\n", "line 2, column 1: more than one document; remove the line `---`", ""),
    ("a: 1\nhunter2\nb: 2\n", "line 3, column 1: an option without a colon and a value", "hunter2"),
    ("a: \x07\n", "it holds characters that are not text", ""),
    ('a: "\\ud83d"\n', "line 1, column 4: half a character", ""),
    ('a: "\\UFFFFFFFF"\n', "a date, a number or an escaped character is out of range", ""),
    ("a: 2026-13-45\n", "a date, a number or an escaped character is out of range", ""),
    ("a: " + "9" * 5000 + "\n", "a date, a number or an escaped character is out of range", "999"),
    ("a: " + "[" * 5000 + "\n", "brackets or groups are nested too deeply", ""),
    ("a: =\n", "line 1, column 4: this is not valid YAML", ""),
]


@pytest.mark.parametrize(("text", "reason", "hidden"), YAML_FAULTS)
def test_what_is_no_proper_yaml(text: str, reason: str, hidden: str) -> None:
    with pytest.raises(PlanError) as caught:
        check_plan(text, "office.yaml", FOLDER, KINDS)
    assert caught.value.message.startswith(f"office.yaml: {reason}")
    assert "\n" not in caught.value.message
    if hidden:
        assert hidden not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    (tmp_path / "utf16.yaml").write_bytes("name: office\n".encode("utf-16"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (LARGEST + 1))
    for name, reason in {
        "missing.yaml": "there is no such file",
        "": "it is not a file",
        "latin.yaml/office.yaml": "Not a directory" if os.name == "posix" else "there is no such file",
        "latin.yaml": "it is not UTF-8 text",
        "utf16.yaml": "it is not UTF-8 text",
        "large.yaml": "it is larger than 1 MiB",
        "nul\x00.yaml": "not a usable path",
    }.items():
        path = tmp_path / name
        with pytest.raises(PlanError) as caught:
            load_plan(path, KINDS)
        assert caught.value.message == f"cannot read the plan {path}: {reason}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a POSIX thing")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(PlanError, match="it is not a file"):
        load_plan(tmp_path / "pipe.yaml", KINDS)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(GOOD).replace("\n", "\r\n").encode())
    assert load_plan(path, KINDS).name == "front-office"


def test_a_plan_of_just_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    text = yaml.safe_dump(GOOD)
    path.write_text(text + "#" * (LARGEST - len(text)), "utf-8")
    assert load_plan(path, KINDS).name == "front-office"


def leaves(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] + [leaf for key, value in parts for leaf in leaves(value, (*path, key))]


@pytest.mark.parametrize("path", [path for path in leaves(GOOD) if path and path[-1] != "kind"])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: [s], lambda s: {"last": s, "kind": "folder"}])
def test_no_message_shows_what_was_typed(path: tuple[str | int, ...], wrap: Any) -> None:
    secret = "hunter2\x07 hunter2"
    try:
        check(spoilt(path, wrap(secret)))
    except PlanError as error:
        assert "hunter2" not in str(error)
        # Nor does it travel on inside another error.
        assert error.__context__ is None
        assert error.__cause__ is None
