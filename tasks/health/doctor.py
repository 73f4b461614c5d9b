"""What ``datasave doctor`` looks at: one finding for each thing a backup needs, with what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from tasks.backup.apart import ON_THE_SAME_DISK, refuse_overlap, shares_disk
from tasks.backup.preflight import room_needed
from tasks.backup.workspace import scratch_room
from tasks.checks.judge import verify_expectations
from tasks.context import PlanContext
from tasks.errors import DatasaveError, StateError
from tasks.health.notify import notifier_of
from tasks.keys.identities import drill_identities, recipients_of
from tasks.keys.proofs import findings as key_findings
from tasks.manifests.signing import public_text
from tasks.notices.wording import size_text
from tasks.plan.model import TargetEntry
from tasks.platform import sandbox
from tasks.platform.files import MORE_ROOM, private_folder
from tasks.records import Engine, Finding
from tasks.sources.capabilities import SupportsConformance, required
from tasks.targets.capabilities import probe

STOCK_TOOLS = ("age", "zstd", "tar")


def checkup(context: PlanContext) -> list[Finding]:
    """All findings about one plan. Writes nothing but a small probe object on each target."""
    engines: dict[str, Engine] = {}
    findings = [
        *(
            _look(_of("source", source_name), partial(_source, context, source_name, engines))
            for source_name in context.source_names
        ),
        _look("staging", lambda: _staging(context, engines)),
        _look("sandbox", lambda: _sandbox(context)),
        _look("holders", lambda: _holders(context)),
        _look("machine key", lambda: public_text(context.machine_key().public_key())),
        _look("plan's checks", lambda: _expectations(context)),
    ]
    drill = context.plan.drill
    if drill.identity:
        findings.append(_look("drill key", lambda: _drill_key(context)))
    findings += [_look(f"drill key {name}", partial(_drill_key, context, name)) for name in drill.identities]
    findings += _keys(context, findings)
    findings += _clear_lines(context)
    vendors = [entry for entry in context.plan.targets if entry.with_vendor]
    findings += [_look(f"BAA {entry.name}", partial(_agreement, context, entry)) for entry in vendors]
    names = [entry.name for entry in context.plan.targets]
    findings += [_look(f"target {name}", partial(_target, context, name, engines)) for name in names]
    return [*findings, *_notices(context), _tools()]


def tried_out(context: PlanContext, source_name: str) -> list[Finding]:
    """What a source's conformance script finds. Raises SourceError where it has none, or cannot begin."""
    source = context.source(source_name)
    with scratch_room(context.staging, "doctor") as room:
        return required(
            source,
            SupportsConformance,
            f"there is nothing to try for {source.kind}",
            "Datasave's tests run against the real engine; `datasave doctor` checks this installation.",
        ).conformance(room)


def _of(check: str, source_name: str) -> str:
    return f"{check} {source_name}" if source_name else check


def _look(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check=check, passed=True, detail=look())
    except DatasaveError as error:
        return Finding(check=check, passed=False, detail=str(error))


def _source(context: PlanContext, source_name: str, engines: dict[str, Engine]) -> str:
    engine = engines[source_name] = context.source(source_name).check()
    refuse_overlap(context, engine)
    return f"{engine.kind} {engine.version}, {size_text(engine.bytes)}"


def _staging(context: PlanContext, engines: dict[str, Engine]) -> str:
    free = shutil.disk_usage(private_folder(context.staging)).free
    if len(engines) < len(context.source_names):  # a source that does not answer has a finding of its own
        return f"{size_text(free)} free; what a run needs shows once the source answers"
    needed = sum(room_needed(context, source_name, engine) for source_name, engine in engines.items())
    if free < needed:
        raise DatasaveError(
            f"{context.staging} has {size_text(free)} free, a run needs about {size_text(needed)}",
            hint=MORE_ROOM,
        )
    return f"{size_text(free)} free, a run needs about {size_text(needed)}"


def _sandbox(context: PlanContext) -> str:
    """How closely PostgreSQL's and MariaDB's programs are closed in; the others have no sandbox."""
    context.check_sandbox()
    return sandbox.tightness() + (f". {sandbox.WAY_OUT}" if sandbox.missing() else "")


def _holders(context: PlanContext) -> str:
    context.recipients()
    names = [holder.name for holder in context.plan.holders]
    if len(names) < 2:
        raise DatasaveError(
            f"only {names[0]} can open the backups",
            hint="Add a second holder (a partner, a bank safe): one lost key must not lose everything.",
        )
    return ", ".join(names)


def _expectations(context: PlanContext) -> str:
    checks = [check for source_name in context.source_names for check in context.checks(source_name)]
    verify_expectations(checks)
    return f"{len(checks)} checks of your own"


def _keys(context: PlanContext, findings: Sequence[Finding]) -> list[Finding]:
    """When each holder's key last opened a backup, as the journal tells."""
    try:
        return key_findings(context)
    except StateError as error:
        # The journal opens with the machine's key: what is wrong with that has a finding of its own.
        told = any(not finding.passed and finding.check == "machine key" for finding in findings)
        return [] if told else [Finding(check="keys proved", passed=False, detail=str(error))]


def _drill_key(context: PlanContext, holder: str = "") -> str:
    drill = context.plan.drill
    reference = drill.identities.get(holder) or drill.identity or ""
    if reference.startswith("prefect:"):
        return f"{reference}: known to the Prefect server only, not looked at"
    mine = recipients_of(drill_identities(context, holder))
    holders = [one.name for one in context.plan.holders if one.recipient in mine]
    if holder and holder not in holders:
        raise DatasaveError(
            f"the key that drills take for {holder}'s is not theirs",
            hint=f"Name {holder}'s own identity file under `drill: identities:`.",
        )
    if not holders:
        raise DatasaveError(
            "the key for scheduled drills is not that of any holder",
            hint="Name the identity file of one of the plan's holders under `drill:`.",
        )
    return f"scheduled drills use the key of {', '.join(holders)}"


def _clear_lines(context: PlanContext) -> list[Finding]:
    """What travels unencrypted by the plan's own word; where it says hipaa: true, such a plan is refused."""
    plan = context.plan
    told = [(f"line to {entry.name}", entry.in_the_clear) for entry in plan.targets]
    told += [(f"line to {entry.name}", entry.in_the_clear) for entry in plan.also]
    told.append(("line to the source", plan.source.in_the_clear))
    beats = plan.notices.heartbeat
    told.append(("line to the heartbeat", beats.in_the_clear if beats else ""))
    return [
        Finding(check=name, passed=True, detail=f"`{option}` lets others on the network read along")
        for name, option in told
        if option
    ]


def _agreement(context: PlanContext, entry: TargetEntry) -> str:
    today = datetime.now(context.timezone).date()
    if entry.baa is None:
        return "a vendor's, with no agreement noted; under HIPAA it needs one (`baa:`, and hipaa: true)"
    if not entry.baa.holds_on(today):
        raise DatasaveError(
            f"the agreement with {entry.baa.vendor} is not in date",
            hint="Backups go on. Renew it, and note the new dates under `baa:`.",
        )
    return f"signed by {entry.baa.vendor} on {entry.baa.signed}"


def _target(context: PlanContext, name: str, engines: dict[str, Engine]) -> str:
    with context.target(name) as target:
        free = target.free_space()
        told = probe(target)
        needed = sum(engine.bytes for engine in engines.values())
        if free is not None and free < needed:
            raise DatasaveError(
                f"{name} has {size_text(free)} free, a backup may need up to {size_text(needed)}",
                hint="Free space there or use a larger disk.",
            )
        told += f", {ON_THE_SAME_DISK}" if shares_disk(context, target, engines.values()) else ""
        return f"{told}, " + (f"{size_text(free)} free" if free is not None else "room unknown")


def _notices(context: PlanContext) -> list[Finding]:
    """Whether notices could be sent; none is (`datasave notify --test` sends one)."""
    with notifier_of(context.path) as notifier:
        return [_look(name, look) for name, look in notifier.looks]


def _tools() -> Finding:
    missing = [tool for tool in STOCK_TOOLS if shutil.which(tool) is None]
    if not missing:
        return Finding(check="stock tools", passed=True, detail="age, zstd and tar are here")
    detail = (
        f"not here: {', '.join(missing)} (wanted only to restore without this program; RECOVER.md tells how)"
    )
    return Finding(check="stock tools", passed=True, detail=detail)
