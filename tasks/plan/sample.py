"""A commented plan to begin with, and the JSON schema for editors, both made from the option models."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeGuard

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.options import Json
from tasks.plan.load import Kinds, check_plan, plan_model
from tasks.plan.problems import kind_of, models_in, option_names

WIDTH = 100
# The deepest explanation stands four columns in, behind "# ".
NESTED = 6
SHORT = 5  # lines of list entries that need no empty line between them
LONG = 1 << 16  # values are never folded: a recipient is one word
HEAD = (
    "What to back up, where to, who can open it, and when.",
    'A line that begins with "# " explains the option below it. An option behind a "#" is switched off '
    "and shows its default, or an example where there is none: remove the # to switch it on. "
    "Indentation counts, and is made with spaces.",
    "No password and no private key belongs in this file: write env:NAME or file:path to say where one is.",
)


def sample_plan(
    kinds: Kinds, source_kind: str, answers: Mapping[str, Any], schema: str = "", folder: Path | None = None
) -> str:
    """A plan for a source of ``source_kind``, each option explained, that loads as it stands in ``folder``.

    ``answers`` are a plan's options as they would stand in the file; at least ``name``, the source's
    options without its kind, ``holders`` and ``targets``. Options that are not answered are there,
    switched off. ``schema`` is the address or path of the JSON schema, for editors that look for one.
    Raises PlanError where the answers make no valid plan.
    """
    given = {**answers, "source": {"kind": source_kind, **answers.get("source", {})}}
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    for paragraph in HEAD:
        lines += [*_comment(paragraph), "#"]
    lines.pop()
    text = "\n".join([*lines, *_options(plan_model(kinds), given, set(), apart=True)]) + "\n"
    check_plan(text, "the sample plan", folder or Path.cwd(), kinds)
    return text


def _options(
    model: type[BaseModel], given: Mapping[str, Any], explained: set[str], *, apart: bool = False
) -> list[str]:
    """The options of a model, each explained unless it was already; ``apart`` puts space between them."""
    lines: list[str] = []
    for name, field in _in_reading_order(model).items():
        if name in explained and name not in given:
            continue
        lines += [""] if apart else []
        lines += [] if name in explained else _comment(field.description or "")
        lines += _option(name, field, given)
    for name in given.keys() - option_names(model).keys():
        # No such option: it is the loader that says so, with the nearest name.
        lines += _entry(name, given[name])
    explained.update(option_names(model))
    return lines


def _in_reading_order(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Name and kind, then what must be given, then what can be left out."""
    options = option_names(model)
    first = {key: options[key] for key in ("name", "kind") if key in options}
    return first | {key: field for key, field in options.items() if field.is_required()} | options


def _option(name: str, field: FieldInfo, given: Mapping[str, Any]) -> list[str]:
    models = models_in(field.annotation)
    answer = given.get(name)
    if models and _is_list_of_groups(answer):
        return [f"{name}:", *_entries(models, answer)]
    if (models and isinstance(answer, dict)) or (_is_group(field) and answer is None):
        group = answer or {}
        return [f"{name}:", *_indented(_options(_fitting(models, group), group, set()))]
    if name in given:
        return _entry(name, answer)
    if field.is_required():
        return []
    return [f"#{line}" for line in _entry(name, _default_or_example(field))]


def _is_list_of_groups(answer: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    return isinstance(answer, list | tuple) and bool(answer) and all(isinstance(one, dict) for one in answer)


def _is_group(field: FieldInfo) -> bool:
    """Whether a field is a heading whose options can all be left out."""
    return isinstance(field.default, BaseModel)


def _entries(models: list[type[BaseModel]], answers: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    explained: set[str] = set()
    for answer in answers:
        entry = _indented(_indented(_options(_fitting(models, answer), answer, explained)))
        live = [n for n, line in enumerate(entry) if not line.lstrip().startswith("#")]
        if not live:
            lines.append("  - {}")
            continue
        first = live[0]
        lines += [""] if len(lines) > SHORT else []
        lines += [line.removeprefix("  ") for line in entry[:first]]
        lines += [entry[first].replace("    ", "  - ", 1), *entry[first + 1 :]]
    return lines


def _fitting(models: list[type[BaseModel]], answer: Mapping[str, Any]) -> type[BaseModel]:
    """The model for the answer's kind; any where there is none, as the loader will then refuse it."""
    return next(
        (model for model in models if len(models) > 1 and kind_of(model) == answer.get("kind")), models[0]
    )


def _default_or_example(field: FieldInfo) -> Any:
    if field.examples and (field.default_factory or not field.default):
        return field.examples[0]
    return field.default


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _comment(text: str) -> list[str]:
    if not text:
        return []
    sentence = text[0].upper() + text[1:] + ("" if text[-1] in ".:!?" else ".")
    return [f"# {line}" for line in textwrap.wrap(sentence, WIDTH - NESTED, break_long_words=False)]


class _Dumper(yaml.SafeDumper):
    """Text with a * is quoted, so that a cron expression can be edited without knowing about aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # PyYAML would put the dashes of a list below the first letter of its heading.
        super().increase_indent(flow, indentless and flow)


_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if "*" in text else None
    ),
)


def _entry(name: str, value: Any) -> list[str]:
    """``name: value`` as YAML; groups and lists of plain values stay on one line."""
    flow = None if isinstance(value, list | tuple | dict) else False
    text = yaml.dump(
        {name: value},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow,
        width=LONG,
    )
    return text.splitlines()


def plan_schema(kinds: Kinds) -> Json:
    """The JSON schema of a plan for these adapters (draft 2020-12), for editors and for the reference."""
    schema = plan_model(kinds).model_json_schema(by_alias=True)
    properties = schema["properties"]
    properties["source"] = _with_branches(properties["source"])
    branches = [*properties["source"]["oneOf"]]
    for entries in (properties["also"], properties["targets"]):
        entries["items"] = _with_branches(entries["items"])
        branches += entries["items"]["oneOf"]
    for branch in branches:
        model = schema["$defs"][branch["$ref"].rpartition("/")[2]]
        # An adapter may give its kind as a default; in a plan it must be written.
        model["required"] = sorted({"kind", *model.get("required", ())})
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Datasave plan"}


def _with_branches(place: Json) -> Json:
    """A branch for each kind, also where there is a single one (which pydantic writes without a choice)."""
    if "oneOf" in place:
        return place
    rest = {key: value for key, value in place.items() if key != "$ref"}
    return {**rest, "oneOf": [{"$ref": place["$ref"]}]}
