"""What plans promised for each target: a change that lets go what was kept before waits for a person.

The journal holds each plan that a run found and that differs from the one before. All of them since a person
last accepted a change are in force together: what any of them keeps, stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.context import PlanContext
from tasks.errors import StateError
from tasks.journal.kinds import Kind
from tasks.options import Json
from tasks.plan.model import TargetEntry
from tasks.platform.accounts import account_name
from tasks.policy.retention import Promise
from tasks.targets.capabilities import MediaOptions
from tasks.targets.shared.addresses import rescue_words

Promised = dict[str, Promise]
"""By the target's name."""


def promise_of(context: PlanContext, entry: TargetEntry) -> Promise:
    """What the plan as it is now promises for a target."""
    return Promise(
        place=" ".join(rescue_words(entry)) or entry.name,
        keep=entry.keep,
        floor=entry.floor,
        slots=entry.slots,
        replace=entry.replace if isinstance(entry, MediaOptions) else "keep",
        timezone=context.plan.schedule.timezone,
        signers=tuple(sorted(context.plan.signers)),
    )


def note_plan(context: PlanContext) -> None:
    """Write down what the plan promises now, where that is not what stands there last."""
    facts = _facts(_of_plan(context))
    with context.journal.locked():
        last = context.journal.entries(Kind.PLAN, Kind.PLAN_ACCEPTED)[-1:]
        if [entry.facts.get("sha256") for entry in last] != [facts["sha256"]]:
            context.journal.append(Kind.PLAN, **facts)


def promised_before(context: PlanContext, target: str) -> tuple[Promise, ...]:
    """What other plans promised for a target, under its name or for its place, and nobody has taken back.

    Raises StateError where the journal holds such a promise and it cannot be read.
    """
    now = promise_of(context, context.entry(target))
    in_force: list[tuple[str, Promise]] = []
    for entry in context.journal.entries(Kind.PLAN, Kind.PLAN_ACCEPTED):
        found = _read(entry.facts)
        if entry.kind == Kind.PLAN_ACCEPTED:
            in_force = [one for one in in_force if not _settled(one, found)]
        in_force += found.items()
    return tuple(
        dict.fromkeys(
            promise
            for name, promise in in_force
            if promise != now and (name == target or _is_place(promise.place, now.place))
        )
    )


def _is_place(one: str, other: str) -> bool:
    """Whether two addresses are one place; of folders also where a link leads to it."""
    return one == other or _followed(one) == _followed(other)


def _followed(place: str) -> str:
    words = shlex.split(place)
    return shlex.join(os.path.realpath(word) if Path(word).is_absolute() else word for word in words)


def accept_plan(context: PlanContext) -> tuple[str, ...]:
    """The change of the plan was meant: from now on it alone says what stays; the targets it is about."""
    changed = tuple(entry.name for entry in context.plan.targets if promised_before(context, entry.name))
    if changed:
        context.journal.append(Kind.PLAN_ACCEPTED, **_facts(_of_plan(context)), who=account_name())
    return changed


def _of_plan(context: PlanContext) -> Promised:
    return {entry.name: promise_of(context, entry) for entry in context.plan.targets}


def _settled(one: tuple[str, Promise], accepted: Promised) -> bool:
    name, promise = one
    return name in accepted or any(_is_place(promise.place, other.place) for other in accepted.values())


def _facts(promised: Promised) -> Json:
    targets: Json = {name: promise.model_dump(mode="json") for name, promise in promised.items()}
    text = json.dumps(targets, sort_keys=True)
    return {"targets": targets, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _read(facts: Json) -> Promised:
    known = Promise.model_fields.keys()
    targets: Iterable[tuple[str, dict[str, Any]]] = facts.get("targets", {}).items()
    try:
        return {
            name: Promise.model_validate({key: value for key, value in stated.items() if key in known})
            for name, stated in targets
        }
    except ValidationError as error:
        raise StateError(
            "cannot tell what the plan promised: its entry in the journal is of another version",
            hint="Update Datasave on this machine; nothing is removed meanwhile.",
        ) from error
