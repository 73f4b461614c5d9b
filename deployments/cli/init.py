"""Commands that prepare: init, doctor, adopt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import bad, findings_table, good, say
from tasks.context import KINDS, PlanContext
from tasks.errors import PlanError
from tasks.health.doctor import checkup, tried_out
from tasks.plan.sample import plan_schema, sample_plan
from tasks.platform.files import create_private, private_folder
from tasks.sources.capabilities import grants_of
from tasks.targets.capabilities import policies, prepare

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
        Parameter(negative=(), help="NAME=age1… of one who can open backups; may be given several times."),
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
            "a plan needs one who can open the backups and a place that receives them",
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
    text = sample_plan(KINDS, source, answers, schema=f".datasave/{SCHEMA_NAME}")
    try:
        with create_private(plan) as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise PlanError(
            f"cannot write {plan}: {error.strerror}", hint="Make its folder first, or name another place."
        ) from error
    schema = private_folder(plan.absolute().parent / ".datasave") / SCHEMA_NAME
    schema.write_text(json.dumps(plan_schema(KINDS), indent=2), "utf-8")
    good(f"wrote {plan}")
    say("Next: read it through, then `datasave adopt TARGET` for each target, then `datasave doctor`.")
    return 0


def doctor(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    grants: Annotated[
        bool, Parameter(negative=(), help="Only print what makes an account with just the rights needed.")
    ] = False,
    policies: Annotated[
        bool, Parameter(negative=(), help="Only print the least rights for the keys of each target.")
    ] = False,
    conformance: Annotated[
        bool, Parameter(negative=(), help="Try on the real engine each behaviour that is relied on.")
    ] = False,
    source: Annotated[
        str | None, Parameter(help="Which of the plan's sources to try; without it, the main one.")
    ] = None,
) -> int:
    """Check the plan, the source, keys, staging and every target; say how to mend what is wrong.

    Exit status 0 if a backup would find everything it needs.

    **Examples:**

        datasave doctor

        datasave doctor --plan clinic.yaml

        datasave doctor --grants

        datasave doctor --policies

        datasave doctor --conformance
    """
    context = PlanContext(plan)
    if policies:
        return _policies(context)
    if grants:
        print(
            "\n".join(grants_of(context.source(source_name)) for source_name in context.source_names), end=""
        )
        return 0
    if conformance:
        findings = tried_out(context, context.source_name(source))
        findings_table(
            f"{context.source(context.source_name(source)).kind}: what the real engine does", findings
        )
    else:
        findings = checkup(context)
        findings_table(f"{context.plan.name} ({context.path})", findings)
    failed = [finding for finding in findings if not finding.passed]
    if failed:
        bad(f"{len(failed)} of {len(findings)} need attention")
        return 1
    done = f"all {len(findings)} hold" if conformance else "ready: a backup would find everything it needs"
    good(done)
    return 0


def _policies(context: PlanContext) -> int:
    found = False
    for entry in context.plan.targets:
        with context.target(entry.name) as target:
            for role, text in policies(target).items():
                found = True
                say(f"{entry.name}, policy of the {role}:")
                print(text)
    if not found:
        say("No target of this plan is a service with policies.")
    return 0


def adopt(
    target: Annotated[str, Parameter(help="Name of the target in the plan.")],
    /,
    *,
    plan: PlanOption = DEFAULT_PLAN,
) -> int:
    """Make a place ready to be a target: write the marker by which it is known from then on.

    Only on your word, and only once: without its marker a path that isn't mounted would pass for
    the drive, and backups would pile up on the system disk.

    **Examples:**

        datasave adopt nas
    """
    context = PlanContext(plan)
    with context.target(context.entry(target).name) as place:
        good(prepare(place))
    return 0


def _folder(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "kind": "files", "path": path}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise PlanError(f"{text!r} is not of the form NAME=VALUE", hint='For example "Owner=age1…".')
    return key, value
