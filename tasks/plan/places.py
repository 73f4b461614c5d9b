"""Places that must not lie in one another: targets, what is backed up, and the folder for work in progress.

A target inside another one is counted, and cleared out, as if its backups were the other's. A target inside
what is backed up grows into the next backup; around it, whoever empties the target empties the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tasks.options import Place
from tasks.plan.model import Plan
from tasks.plan.problems import Problem, shown
from tasks.platform.places import Located

_OF_ITS_OWN = (
    "Give each target a place of its own, none inside another: the outer one takes what lies in the inner "
    "one for its own backups, and removes them."
)
APART = "Give the target a place of its own, away from the data; best on another disk."


class _Named(NamedTuple):
    """A place by what a reader of the plan calls it."""

    words: str
    located: Located


def overlaps(plan: Plan) -> Iterator[Problem]:
    """A problem for each target of a plan, whose paths are absolute, that shares its place with something."""
    before: list[_Named] = []
    others = list(_others(plan))
    for number, entry in enumerate(plan.targets):
        if entry.place is None:
            continue
        target = _Named(shown(entry.name), Located(entry.place))
        for named, hint in (*((one, _OF_ITS_OWN) for one in before), *((one, APART) for one in others)):
            if cause := _cause(target.located, named):
                yield Problem(f"targets[{number}]", cause, hint)
        before.append(target)


def overlap(place: Place, words: str, others: Iterable[Place]) -> str:
    """What is wrong with a target at ``place`` beside what lies at ``others``, called ``words``; or ""."""
    target = Located(place)
    causes = (_cause(target, _Named(words, Located(other))) for other in others)
    return next(filter(None, causes), "")


def _cause(target: Located, other: _Named) -> str:
    inside, around = target.lies_in(other.located), other.located.lies_in(target)
    if inside and around:
        return f"is the same place as {other.words}"
    if inside:
        return f"lies inside {other.words}"
    return f"contains {other.words}" if around else ""


def _others(plan: Plan) -> Iterator[_Named]:
    if plan.source.place:
        yield _Named("what is backed up (`source`)", Located(plan.source.place))
    for number, entry in enumerate(plan.also):
        if entry.place:
            yield _Named(f"what is backed up (`also[{number}]`)", Located(entry.place))
    yield _Named("the state folder (`state`)", Located(Place("", str(plan.state))))
