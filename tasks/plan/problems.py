"""What is wrong with a plan, one line each: the place, the cause, what to do.

A message never shows what was typed as a value: people type passwords into the wrong line. Names of
options and kinds are shown, because a misspelt name is of no use unseen.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

LONGEST_NAME = 60
GROUP = "must be a group of `option: value` lines"
LIST = 'must be a list of lines that begin with "- "'
TEXT = "must be text; put it in quotes"

# pydantic's error types in the words of this program; {…} are filled from the error's context.
WORDS = {
    "missing": "is missing",
    "string_type": TEXT,
    "path_type": TEXT,
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "too_short": "needs at least {min_length}",
    "tuple_type": LIST,
    "list_type": LIST,
    "model_type": GROUP,
    "model_attributes_type": GROUP,
    "dict_type": GROUP,
}


class Problem(NamedTuple):
    """One thing that is wrong. ``place`` is dotted (``targets[1].keep``), empty for the whole plan."""

    place: str
    cause: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.cause}" if self.place else self.cause


def shown(name: object) -> str:
    """A name from the plan as one short printable word in backquotes."""
    text = str(name).encode("unicode_escape").decode("ascii") if not str(name).isprintable() else str(name)
    return f"`{text[:LONGEST_NAME]}…`" if len(text) > LONGEST_NAME else f"`{text}`"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean `x`?`` for the known name nearest to ``name``, or nothing."""
    nearest = difflib.get_close_matches(name[:LONGEST_NAME], list(known), n=1)
    return f"; did you mean `{nearest[0]}`?" if nearest else ""


def option_names(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The options of a model by the names that stand in the plan file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models that a field can hold, itself or in a list or union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def kind_of(model: type[BaseModel]) -> str:
    """The kind an adapter's option model is for."""
    return str(typing.get_args(model.model_fields["kind"].annotation)[0])


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every problem that pydantic found while reading ``model``, in the plan's order."""
    details = error.errors(include_url=False)
    return [_problem(detail, model) for detail in details if not _is_follow_up(detail)]


def _is_follow_up(detail: ErrorDetails) -> bool:
    """Whether another error, which has its own line, is all the reason for this one."""
    if detail["type"] == "default_factory_not_called":
        return True
    # Entries that did not pass are not counted by pydantic.
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    location = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return _unknown_option(location, model)
    place, _ = _walk(location, model)
    context = detail.get("ctx", {})
    if detail["type"] == "plan":
        return Problem(_joined(place, context["place"]), context["cause"], context["hint"])
    return Problem(place, _cause(detail))


def _joined(place: str, below: str) -> str:
    return place + below if below.startswith("[") else f"{place}.{below}".strip(".")


def _cause(detail: ErrorDetails) -> str:
    if detail["input"] is None and detail["type"] != "missing":
        return "is empty; give it a value or remove the line"
    if detail["type"] in WORDS:
        return WORDS[detail["type"]].format_map(detail.get("ctx", {}))
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return detail["msg"].replace("Input should", "must", 1)


def _unknown_option(location: tuple[int | str, ...], model: type[BaseModel]) -> Problem:
    name = str(location[-1])
    place, models = _walk(location[:-1], model)
    where = f" in {place}" if place else ""
    guess = did_you_mean(name, option_names(models[0]) if models else ())
    return Problem("", f"unknown option {shown(name)}{where}{guess}")


def _walk(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, list[type[BaseModel]]]:
    """The dotted place of ``location``, and the models that describe what stands there.

    Where a field holds one of several kinds pydantic puts the kind into the location; that is no
    part of the place in the file.
    """
    place, models = "", [model]
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif len(models) > 1:
            models = [one for one in models if kind_of(one) == part]
        else:
            place += f".{part}" if part.isidentifier() else f".{shown(part)}"
            field = option_names(models[0]).get(part) if models else None
            models = models_in(field.annotation) if field else []
    return place.removeprefix("."), models
