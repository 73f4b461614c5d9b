"""``datasave init``: a commented plan to begin with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from deployments.cli.init_questions import (
    MAIL_PASSWORD,
    NO_WISHES,
    Given,
    NewKey,
    Wishes,
    ask,
    new_keys,
    pair,
    schedule_of,
    to_be_asked,
    warn_of_gaps,
)
from deployments.cli.options import DEFAULT_PLAN, PLAN_VARIABLE
from deployments.cli.screen import good, path_line, say, warning
from tasks.backup.apart import ON_THE_SAME_DISK, planned_beside
from tasks.context import KINDS, PlanContext, plan_of
from tasks.errors import PlanError
from tasks.health.posture import posture_of
from tasks.plan.sample import plan_schema, sample_plan
from tasks.platform.files import create_private, private_folder, write_new_secret

SCHEMA_NAME = "plan.schema.json"
# Rules of the posture that only runs can meet, or that time has to show.
WITH_TIME = ("fresh", "drill", "targets-proved", "keys-proved", "objective", "runbook", "restart")


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
    wishes: Wishes = NO_WISHES,
) -> int:
    """Write a commented plan, with every option explained, and its JSON schema for editors.

    On a terminal it asks for what was not given: the source, where backups go, when, who is told, who has a
    key. What it prints at the end can be typed as it stands.

    **Examples:**

        datasave init

        datasave init --yes --path clinic.db --target nas=/mnt/nas --new-key Owner=. --new-key Safe=/media/usb

        datasave init --path /srv/clinic.db --holder "Owner=age1…" --target nas=/mnt/nas/datasave

        datasave init clinic.yaml --path clinic.db --holder "Owner=age1…" --target nas=/mnt/nas

        datasave init --source sqlanywhere --name sos --option dsn=SOSDATA --option user=BU_BILL
        --option password=env:SOS_PASSWORD --also programs=C:/SOS --holder "Owner=age1…" --target nas=N:/
    """
    if plan.exists():
        raise PlanError(f"{plan} exists already", hint="Give another file name: a plan is never overwritten.")
    folder = plan.absolute().parent
    given = Given(source, path, option or [], holder or [], target or [], wishes)
    if to_be_asked(given):
        given = ask(given)
    if not (given.target and (given.holder or given.wishes.new_key)):
        raise PlanError(
            "a plan needs someone who can open the backups, and a place to put them",
            hint="Make a key with `datasave keys new --holder NAME`, then give --holder NAME=age1… and "
            "--target NAME=FOLDER.",
        )
    keys = new_keys(given.wishes)
    answers = _answers(given, name, also or (), keys)
    text = sample_plan(KINDS, given.source, answers, schema=f".datasave/{SCHEMA_NAME}", folder=folder)
    for key in keys:
        key.write()
    if given.password:
        write_new_secret(folder / MAIL_PASSWORD, given.password)
    _write(plan, text)
    schema = private_folder(folder / ".datasave") / SCHEMA_NAME
    schema.write_text(json.dumps(plan_schema(KINDS), indent=2), "utf-8")
    good(f"wrote {plan}")
    for beside in planned_beside(plan_of(plan.absolute())):
        warning(f"{beside} lies {ON_THE_SAME_DISK}")
    _tell_gaps(plan)
    for made in keys:
        path_line(f"Key of {made.holder} (private: move it off this machine, keep a copy):", made.path)
    say("Next: read it through, mount what is to be mounted, then run:")
    for line in _next(plan, [key for key, _ in map(pair, given.target)], keys):
        say(f"  {line}")
    return 0


def _answers(given: Given, name: str | None, also: Sequence[str], keys: Sequence[NewKey]) -> dict[str, Any]:
    """The plan's options as they were given, for its sample."""
    options = {key: yaml.safe_load(value) for key, value in map(pair, given.option)}
    if given.path is not None or given.source == "sqlite":
        options["path"] = str(given.path or "clinic.db")
    return {
        "name": name or Path(options.get("path", given.source)).stem.lower(),
        "source": options,
        **({"also": [_folder(*pair(text)) for text in also]} if also else {}),
        **schedule_of(given.wishes),
        "holders": [
            *(dict(zip(("name", "recipient"), pair(text), strict=True)) for text in given.holder),
            *({"name": key.holder, "recipient": str(key.identity.recipient())} for key in keys),
        ],
        "targets": [
            {"name": key, "kind": "folder", "path": value, "slots": "weekday"}
            for key, value in map(pair, given.target)
        ],
    }


def _write(plan: Path, text: str) -> None:
    try:
        with create_private(plan) as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise PlanError(
            f"cannot write {plan}: {error.strerror}", hint="Make its folder first, or name another place."
        ) from error


def _tell_gaps(plan: Path) -> None:
    """What the posture will miss, of what a plan decides; what needs runs can't be there yet."""
    gaps = [result for result in posture_of(PlanContext(plan)).open if result.id not in WITH_TIME]
    must = [(result.demands, result.how) for result in gaps if result.must]
    warn_of_gaps(must, len(gaps) - len(must))


def _next(plan: Path, targets: Sequence[str], keys: Sequence[NewKey]) -> Iterator[str]:
    """The commands from here to a schedule that runs, as they are to be typed."""
    for target in targets:
        yield _command("target", "init", target, plan=plan)
    yield _command("doctor", plan=plan)
    yield _command("backup", plan=plan)
    for key in keys:
        sheet = str(key.path).removesuffix(".key.txt") + "-sheet.html"
        yield _command("keys", "sheet", "--identity", str(key.path), "--out", sheet, plan=plan)
    yield _command("runbook", plan=plan)
    yield _command("serve", "--install", plan=plan)


def _command(*words: str, plan: Path) -> str:
    """A command of ours about a plan, ready for the shell that it is read in."""
    usual = plan == DEFAULT_PLAN and PLAN_VARIABLE not in os.environ
    line = ["datasave", *words, *([] if usual else ["--plan", str(plan)])]
    return subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)


def _folder(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "kind": "files", "path": path}
