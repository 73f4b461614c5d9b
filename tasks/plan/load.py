"""From the plan file to a ``Plan``: read, check everything, make relative paths absolute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union

from pydantic import BeforeValidator, Discriminator, ValidationError, create_model

from tasks.errors import PlanError
from tasks.options import Json, Options, problem
from tasks.plan.document import parse, read_text
from tasks.plan.model import NoticesGroup, Plan, SourceEntry, TargetEntry
from tasks.plan.notice_options import Notices
from tasks.plan.places import overlaps
from tasks.plan.problems import GROUP, TEXT, Problem, did_you_mean, problems_of, shown
from tasks.platform.secrets import anchored
from tasks.records import Record

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, eq=False)
class Kinds:
    """The adapters there are: option models by kind, as the registries give them.

    Make it once: the plan's model is kept for each ``Kinds``. A model may be imported when it is looked up.
    """

    sources: Mapping[str, type[Options]]
    targets: Mapping[str, type[Options]]


@lru_cache(maxsize=16)
def plan_model(kinds: Kinds, named: frozenset[str] | None = None) -> type[Plan]:
    """The model of a plan for these adapters; for those ``named`` alone, which are all that a plan needs.

    Each target entry is both a TargetEntry and its adapter's own Options, each further source a
    SourceEntry in the same way. Raises ValueError where an adapter's option has the name of a common one:
    it would silently take its place.
    """
    sources, targets = _of(kinds.sources, named), _of(kinds.targets, named)
    entry: Any = _one_of(_entries(targets, TargetEntry), kinds.targets)
    part: Any = _one_of(_entries(sources, SourceEntry), kinds.sources)
    return create_model(
        "Plan",
        __base__=Plan,
        __doc__=Plan.__doc__,
        source=(_one_of(sources, kinds.sources), Plan.model_fields["source"]),
        also=(tuple[part, ...], Plan.model_fields["also"]),
        targets=(tuple[entry, ...], Plan.model_fields["targets"]),
    )


def _of(models: Mapping[str, type[Options]], named: frozenset[str] | None) -> list[type[Options]]:
    """The models of the kinds named. One at least, where a plan names none that there is: it is refused."""
    return [models[kind] for kind in models if named is None or kind in named] or [models[min(models)]]


def _entries(models: Sequence[type[Options]], common: type[Options]) -> list[type[Options]]:
    return [_entry_model(options, common) for options in models]


def _entry_model(options: type[Options], common: type[Options]) -> type[Options]:
    taken = (common.model_fields.keys() & options.model_fields.keys()) - Options.model_fields.keys()
    if taken:
        noun = common.__name__.removesuffix("Entry").lower()
        raise ValueError(f"{options.__name__} declares options that every {noun} has: {sorted(taken)}")
    return create_model(
        options.__name__.removesuffix("Options") + common.__name__.removesuffix("Entry"),
        __base__=(options, common),
        __doc__=options.__doc__,
    )


def _one_of(models: Sequence[type[Options]], known: Iterable[str]) -> Any:
    """The type of "one of these, told apart by kind"; ``known`` are all kinds that there are."""
    check = BeforeValidator(_known_kind(sorted(known)))
    if len(models) == 1:
        return Annotated[models[0], check]
    return Annotated[Union[tuple(models)], Discriminator("kind"), check]  # noqa: UP007


def _known_kind(known: list[str]) -> Callable[[object], object]:
    available = f"available: {', '.join(known)}"

    def check(value: object) -> object:
        if not isinstance(value, dict):
            raise problem(GROUP)
        kind = value.get("kind")
        if kind is None:
            raise problem(f"is missing; {available}", place="kind")
        if not isinstance(kind, str):
            raise problem(f"{TEXT}; {available}", place="kind")
        if kind not in known:
            guess = did_you_mean(kind, known)
            raise problem(f"{shown(kind)} is no kind there is; {available}{guess}", place="kind")
        return value

    return check


def load_plan(path: Path, kinds: Kinds) -> Plan:
    """The plan in the file ``path``, every path in it absolute (``~`` expanded).

    Relative paths start from the plan file's folder. Raises PlanError with one line for each thing
    that is wrong; no line shows a value.
    """
    try:
        folder = path.absolute().parent
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: the current folder is gone") from error
    return check_plan(read_text(path), str(path), folder, kinds)


def notices_alone(path: Path) -> tuple[str, Notices]:
    """A plan's name and whom it tells, for a plan whose other options are wrong. Raises PlanError."""
    data = parse(read_text(path), str(path))
    picked = {"notices": data["notices"]} if "notices" in data else {}
    problems: list[Problem] = []
    read = _validated(_Addressed, picked, path.absolute().parent, problems)
    if read is None or problems:
        raise PlanError("\n".join(f"{path}: {one}" for one in problems))
    return str(data.get("name") or path.stem), read.notices


def _where_state_lies(data: Json, folder: Path) -> Json:
    """The plan with the state folder that an older version gave it by itself, where that is there."""
    name = data.get("name")
    if "state" in data or not isinstance(name, str) or Path(name).name != name:
        return data
    earlier = Path(".datasave") / name
    return {**data, "state": str(earlier)} if (folder / earlier / "machine.key").is_file() else data


def check_plan(text: str, name: str, folder: Path, kinds: Kinds) -> Plan:
    """The plan that stands in ``text``. ``name`` is its file's name for messages. Raises PlanError."""
    problems: list[Problem] = []
    data = _where_state_lies(parse(text, name), folder)
    named = _kinds_in(data) & {*kinds.sources, *kinds.targets}
    plan = _validated(plan_model(kinds, named), data, folder, problems)
    if plan is None or problems:
        hints = dict.fromkeys(one.hint for one in problems if one.hint)
        raise PlanError("\n".join(f"{name}: {one}" for one in problems), hint=" ".join(hints))
    return plan


def _kinds_in(data: Json) -> frozenset[str]:
    """Every ``kind:`` in a plan's text, whatever else is wrong with it."""
    lists = [found for name in ("also", "targets") if isinstance(found := data.get(name), list)]
    groups = [data.get("source"), *chain.from_iterable(lists)]
    kinds = [group.get("kind") for group in groups if isinstance(group, dict)]
    return frozenset(kind for kind in kinds if isinstance(kind, str))


class _Addressed(Record):
    notices: NoticesGroup = Notices()


def _validated(model: type[R], data: Json, folder: Path, problems: list[Problem]) -> R | None:
    """The plan with absolute paths; what is wrong is added to ``problems``.

    pydantic's error ends here: it holds the values, passwords typed into the plan included, and must
    not travel on as the context of another error.
    """
    try:
        read = model.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        problems.extend(problems_of(error, model))
        return None
    plan: R = _anchored(read, folder, "", problems)
    if isinstance(plan, Plan) and not problems:
        problems.extend(overlaps(plan))
    return plan


def _anchored(value: Any, folder: Path, place: str, problems: list[Problem]) -> Any:
    """``value`` with every path in it absolute; what cannot be a path is added to ``problems``."""
    if isinstance(value, Path):
        try:
            return anchored(value, folder)
        except ValueError as error:
            problems.append(Problem(place, str(error)))
    elif isinstance(value, Record):
        options = {
            name: _anchored(old, folder, f"{place}.{name}".strip("."), problems) for name, old in value
        }
        return value.model_copy(update=options)
    elif isinstance(value, tuple):
        return tuple(_anchored(old, folder, f"{place}[{n}]", problems) for n, old in enumerate(value))
    return value
