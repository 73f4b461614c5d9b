"""``datasave init``: a commented plan to begin with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PLAN_VARIABLE
from deployments.cli.screen import good, say, warning
from tasks.backup.apart import ON_THE_SAME_DISK, planned_beside
from tasks.context import KINDS, plan_of
from tasks.errors import PlanError
from tasks.plan.sample import plan_schema, sample_plan
from tasks.platform.files import create_private, private_folder

SCHEMA_NAME = "plan.schema.json"


def init(  # noqa: PLR0913 - what a plan may be begun with
    plan: Annotated[Path, Parameter(help="Where to write the plan.")] = DEFAULT_PLAN,
    /,
    *,
    name: Annotated[
        str | None, Parameter(help="Name of what is backed up; default: the database's file name.")
    ] = None,
    source: Annotated[str, Parameter(help="Kind of source.")] = "sqlite",
    path: Annotated[
        Path | None, Parameter(help="The database file or folder to back up, where the kind has one.")
    ] = None,
    option: Annotated[
        list[str] | None,
        Parameter(negative=(), help="KEY=VALUE, an option of the source; may be given several times."),
    ] = None,
    also: Annotated[
        list[str] | None,
        Parameter(negative=(), help="NAME=FOLDER to back up in the same run; may be given several times."),
    ] = None,
    holder: Annotated[
        list[str] | None,
        Parameter(
            negative=(), help="NAME=age1… of someone who can open the backups; may be given several times."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        Parameter(negative=(), help="NAME=FOLDER that receives backups; may be given several times."),
    ] = None,
) -> int:
    """Write a commented plan, with every option explained, and its JSON schema for editors.

    **Examples:**

        datasave init --path /srv/clinic.db --holder "Owner=age1…" --target nas=/mnt/nas/datasave

        datasave init clinic.yaml --path clinic.db --holder "Owner=age1…" --target nas=/mnt/nas

        datasave init --source sqlanywhere --name sos --option dsn=SOSDATA --option user=BU_BILL
        --option password=env:SOS_PASSWORD --also programs=C:/SOS --holder "Owner=age1…" --target nas=N:/
    """
    if plan.exists():
        raise PlanError(f"{plan} exists already", hint="Give another file name: a plan is never overwritten.")
    if not (holder and target):
        raise PlanError(
            "a plan needs someone who can open the backups, and a place to put them",
            hint="Make a key with `datasave keys new --holder NAME`, then give --holder NAME=age1… and "
            "--target NAME=FOLDER.",
        )
    options = {key: yaml.safe_load(value) for key, value in map(_pair, option or [])}
    if path is not None or source == "sqlite":
        options["path"] = str(path or "clinic.db")
    answers: dict[str, Any] = {
        "name": name or Path(options.get("path", source)).stem.lower(),
        "source": options,
        **({"also": [_folder(*_pair(text)) for text in also]} if also else {}),
        "holders": [dict(zip(("name", "recipient"), _pair(text), strict=True)) for text in holder],
        "targets": [
            {"name": key, "kind": "folder", "path": value, "slots": "weekday"}
            for key, value in (_pair(text) for text in target)
        ],
    }
    folder = plan.absolute().parent
    text = sample_plan(KINDS, source, answers, schema=f".datasave/{SCHEMA_NAME}", folder=folder)
    try:
        with create_private(plan) as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise PlanError(
            f"cannot write {plan}: {error.strerror}", hint="Make its folder first, or name another place."
        ) from error
    schema = private_folder(folder / ".datasave") / SCHEMA_NAME
    schema.write_text(json.dumps(plan_schema(KINDS), indent=2), "utf-8")
    good(f"wrote {plan}")
    for beside in planned_beside(plan_of(plan.absolute())):
        warning(f"{beside} lies {ON_THE_SAME_DISK}")
    say("Next: read it through, mount what is to be mounted, then run:")
    for words in (*(["target", "init", key] for key in map(_name, target)), ["doctor"]):
        say(f"  {_command(*words, plan=plan)}")
    return 0


def _command(*words: str, plan: Path) -> str:
    """A command of ours about a plan, ready for the shell that it is read in."""
    usual = plan == DEFAULT_PLAN and PLAN_VARIABLE not in os.environ
    line = ["datasave", *words, *([] if usual else ["--plan", str(plan)])]
    return subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)


def _name(text: str) -> str:
    return _pair(text)[0]


def _folder(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "kind": "files", "path": path}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise PlanError(f"{text!r} is not of the form NAME=VALUE", hint='For example "Owner=age1…".')
    return key, value
