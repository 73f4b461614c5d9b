"""The sample plan and the JSON schema: both say what the loader says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tasks.errors import PlanError
from tasks.options import Keep
from tasks.plan.load import check_plan, load_plan
from tasks.plan.sample import plan_schema, sample_plan
from tests.unit.plan.material import CLASSIC, FOLDER, GOOD, HYBRID, KINDS, OTHER, REGISTERED, good, place
from tests.unit.plan.test_load import REFUSED, REMOVE, spoilt

GOLDEN = Path(__file__).parents[2] / "golden" / "sample-plan.yaml"
ANSWERS: dict[str, Any] = {
    "name": "front-office",
    "source": {"path": Path("clinic.db")},
    "holders": [{"name": "Owner", "recipient": CLASSIC}, {"name": "Bank safe", "recipient": OTHER}],
    "targets": [
        {"name": "nas", "kind": "folder", "path": "/mnt/nas/datasave", "slots": "weekday"},
        {"name": "drive", "kind": "folder", "path": "E:\\Datasave"},
    ],
}
# An option that is switched off; an explanation has one space after the #.
SWITCHED_OFF = re.compile(r"^( *)#(?! \S|$)")


def sample(**answers: Any) -> str:
    return sample_plan(REGISTERED, "sqlite", ANSWERS | answers)


def switched_on(text: str) -> str:
    return "\n".join(SWITCHED_OFF.sub(r"\1", line) for line in text.splitlines())


def test_the_sample_is_the_one_that_people_have_read() -> None:
    assert sample() == GOLDEN.read_text("utf-8")


def test_the_sample_loads_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    path.write_text(sample(), "utf-8")
    plan = load_plan(path, REGISTERED)
    assert plan.source.path == tmp_path / "clinic.db"  # type: ignore[attr-defined]
    assert [holder.recipient for holder in plan.holders] == [CLASSIC, OTHER]
    assert [target.name for target in plan.targets] == ["nas", "drive"]
    assert plan.targets[0].keep == Keep(last=1)
    assert plan.schedule.backup is None


def test_every_option_can_be_switched_on() -> None:
    plan = check_plan(switched_on(sample()), "sample", FOLDER, REGISTERED)
    assert plan.schedule.backup == "0 2 * * *"
    assert plan.schedule.drill == "0 6 * * sun"
    assert plan.drill.identity == "env:DATASAVE_IDENTITY"
    assert plan.targets[0].keep == Keep(last=7, weekly=4, monthly=12)
    assert plan.checks[0].as_ == "age_days"
    assert len(plan.signers) == 1


def test_every_option_is_in_the_sample() -> None:
    data = yaml.safe_load(switched_on(sample()))
    schema = plan_schema(REGISTERED)
    assert data.keys() == schema["properties"].keys()
    for group, model in {
        "schedule": "Schedule",
        "drill": "Drill",
        "audit": "Audit",
        "archive": "Archive",
        "alarm": "Alarm",
        "spool": "Spool",
    }.items():
        assert data[group].keys() == schema["$defs"][model]["properties"].keys()
    entry = schema["properties"]["targets"]["items"]["oneOf"][0]["$ref"].rpartition("/")[2]
    assert data["targets"][0].keys() == schema["$defs"][entry]["properties"].keys()


def test_explanations_fit_the_width() -> None:
    comments = [line for line in sample().splitlines() if line.lstrip().startswith("#")]
    assert len(comments) > 40
    assert max(map(len, comments)) <= 100


def test_answers_of_every_kind_stand_in_the_sample() -> None:
    answers = {key: value for key, value in good().items() if key != "source"}
    text = sample_plan(KINDS, "server", answers | {"source": {"port": 5433}}, schema="datasave.schema.json")
    assert text.startswith("# yaml-language-server: $schema=datasave.schema.json\n#")
    assert yaml.safe_load(text) == answers | {"source": {"kind": "server", "port": 5433}}
    assert text.count("The bucket's name.") == 1
    assert 'backup: "0 2 * * *"' in text


def test_a_long_recipient_stays_in_one_piece() -> None:
    assert f"recipient: {HYBRID}\n" in sample(holders=[{"name": "Owner", "recipient": HYBRID}])


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ({"name": "Front Office"}, "the sample plan: name: must be 1 to 41 of a-z"),
        ({"source": {}}, "the sample plan: source.path: is missing"),
        ({"shedule": {}}, "the sample plan: unknown option `shedule`; did you mean `schedule`?"),
        ({"targets": [{"name": "x", "kind": "tape"}]}, "the sample plan: targets[0].kind: `tape` is no kind"),
        ({"targets": [{}]}, "the sample plan: targets[0].kind: is missing"),
        ({"schedule": "nightly"}, "the sample plan: schedule: must be a group"),
        ({"targets": ["nas"]}, "the sample plan: targets[0]: must be a group"),
        ({"targets": []}, "the sample plan: targets: needs at least 1"),
        ({"holders": "Owner"}, "the sample plan: holders: must be a list"),
    ],
)
def test_answers_that_make_no_plan(answers: dict[str, Any], line: str) -> None:
    with pytest.raises(PlanError) as caught:
        sample(**answers)
    assert caught.value.message.startswith(line)


@pytest.fixture(params=[KINDS, REGISTERED], ids=["several kinds", "as registered"])
def kinds(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_schema_is_one_and_knows_every_kind(kinds: Any) -> None:
    schema = plan_schema(kinds)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert len(schema["properties"]["source"]["oneOf"]) == len(kinds.sources)
    assert len(schema["properties"]["targets"]["items"]["oneOf"]) == len(kinds.targets)
    assert json.loads(json.dumps(schema)) == schema


def test_every_option_of_the_plan_is_described() -> None:
    schema = plan_schema(REGISTERED)
    own = ("HolderEntry", "Schedule", "Drill", "Audit", "Archive", "Alarm", "Spool", "Keep")
    options = [*schema["properties"].items()]
    options += [item for name in own for item in schema["$defs"][name]["properties"].items()]
    assert len(options) > 20
    assert [name for name, option in options if not option.get("description")] == []


def validator(kinds: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(plan_schema(kinds))


def test_the_sample_fits_the_schema() -> None:
    validator(REGISTERED).validate(yaml.safe_load(sample()))
    validator(REGISTERED).validate(yaml.safe_load(switched_on(sample())))
    validator(KINDS).validate(GOOD)


# What a schema cannot say: that names differ, that options go together, what a cron expression is.
BEYOND_A_SCHEMA = re.compile(
    r"same name|same recipient|mixed|Windows|cron|five parts|time zone|not the name of a target"
    r"|schedule.drill is set|keeps nothing|control characters|1 to 80|home folder"
)


@pytest.mark.parametrize(("path", "value", "line"), REFUSED)
def test_the_schema_refuses_what_the_loader_refuses(
    path: tuple[str | int, ...], value: Any, line: str
) -> None:
    if isinstance(value, str) and value.endswith("\n"):
        # Python's `$`, which jsonschema uses, lets a line end pass; that of editors does not.
        value += "."
    fits = validator(KINDS).is_valid(spoilt(path, value))
    assert fits == bool(BEYOND_A_SCHEMA.search(line))


def test_spoiling_is_undone() -> None:
    assert place(spoilt(("name",), "x"), "name") == "x"
    assert "name" not in spoilt(("name",), REMOVE)
    assert GOOD["name"] == "front-office"
