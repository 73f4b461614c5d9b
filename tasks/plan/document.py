"""Strict YAML: what stands in the file is what is read, or it is refused with line and column.

Refused beyond YAML's own errors: a key given twice (the first would silently lose), keys that are no
text (``on:`` is a truth value in YAML 1.1), tags and aliases (a few aliases can stand for gigabytes).
No message quotes the file: the line may hold a password.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import AliasEvent, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode

from tasks.errors import PlanError
from tasks.plan.problems import shown
from tasks.platform.ownership import replaceable, steered
from tasks.platform.secrets import SAVE_AS_UTF8

LARGEST = 1 << 20
TEXT_TAG = "tag:yaml.org,2002:str"

# The beginnings of PyYAML's (and our own) reasons that are of use to a reader, in plain words.
REASONS = {
    "mapping values are not allowed here": "a colon is not expected here; is the indentation right, "
    "or does a text with a colon need quotes?",
    "found character '\\t'": "a tab; indent with spaces",
    "found unknown escape character": "a backslash in double quotes; use single quotes",
    "expected escape sequence": "a backslash in double quotes; use single quotes",
    "found character": "a text that begins with this character needs quotes",
    "could not find expected ':'": "an option without a colon and a value",
    "found unexpected end of stream": "a quote that is never closed",
    "expected <block end>": "the indentation does not fit the lines above",
    "expected ',' or": "a comma or a closing bracket is missing",
    "expected a single document": "more than one document; remove the line `---`",
}


class _RefusedError(ComposerError):
    """Refused by us and not by PyYAML; ``problem`` is made for the reader."""


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent):
            raise _refused(
                "aliases are not supported; a text that begins with * needs quotes", event.start_mark
            )
        if isinstance(event, NodeEvent) and getattr(event, "tag", None) is not None:
            raise _refused("tags are not supported; a text that begins with ! needs quotes", event.start_mark)
        if isinstance(event, ScalarEvent) and any("\ud800" <= letter <= "\udfff" for letter in event.value):
            # Such a text can neither be printed nor written to a file.
            raise _refused("half a character, written as \\u; write the character itself", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag != TEXT_TAG:
                raise _refused("the name of an option must be text; put it in quotes", key.start_mark)
            if key.value in seen:
                raise _refused(f"the option {shown(key.value)} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(reason: str, mark: Any) -> _RefusedError:
    return _RefusedError(None, None, reason, mark)


def read_text(path: Path) -> str:
    """The text of the plan file, at most 1 MiB of UTF-8. Raises PlanError."""
    try:
        if path.exists() and not path.is_file():
            raise PlanError(
                f"cannot read the plan {path}: it is not a file", hint="Give the plan file's own path."
            )
        with path.open("rb") as stream:
            _refuse_steered(path, stream.fileno())
            data = stream.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise PlanError(
            f"cannot read the plan {path}: there is no such file", hint="Check the path of the plan file."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise PlanError(f"cannot read the plan {path}: {reason}") from error
    if len(data) > LARGEST:
        raise PlanError(f"cannot read the plan {path}: it is larger than 1 MiB")
    # Not `strict`: its error would carry the whole plan.
    text = data.decode("utf-8-sig", "replace")
    if "\ufffd" in text:
        raise PlanError(f"cannot read the plan {path}: it is not UTF-8 text", hint=SAVE_AS_UTF8)
    return text


def _refuse_steered(path: Path, descriptor: int) -> None:
    """Raise PlanError where another account could change the plan: it names commands, holders and places."""
    if cause := steered(os.fstat(descriptor)) or replaceable(path):
        raise PlanError(
            f"refused the plan {path}: {cause}",
            hint="A plan names commands, holders and places: who can change it acts as this account. Run "
            "Datasave as the account that the plan belongs to, or give it and its folders to this one alone "
            "(`chown`, `chmod go-w`).",
        )


def parse(text: str, name: str) -> dict[str, Any]:
    """The options in ``text``. ``name`` is the file's name for messages. Raises PlanError."""
    data, refusal = _load(text)
    if refusal:
        raise PlanError(f"{name}: {refusal}", hint="The plan is a YAML file.")
    if not isinstance(data, dict):
        raise PlanError(
            f"{name}: {'it is empty' if data is None else 'it holds no options'}",
            hint="A plan is a list of `option: value` lines; begin with a sample plan.",
        )
    return data


def _load(text: str) -> tuple[Any, str]:
    """What ``text`` says, or why it cannot be read.

    PyYAML's errors end here: they hold a piece of the text.
    """
    try:
        return yaml.load(text, Loader=_Loader), ""  # noqa: S506 - a subclass of SafeLoader
    except YAMLError as error:
        return None, _reason(error)
    except RecursionError:
        return None, "brackets or groups are nested too deeply"
    except (ValueError, OverflowError):
        return None, "a date, a number or an escaped character is out of range; text needs quotes"


def _reason(error: YAMLError) -> str:
    if not isinstance(error, MarkedYAMLError):
        return "it holds characters that are not text"
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = error.problem or ""
    if isinstance(error, _RefusedError):
        return place + problem
    known = (words for start, words in REASONS.items() if problem.startswith(start))
    context = (words for start, words in REASONS.items() if (error.context or "").startswith(start))
    return place + next(known, next(context, "this is not valid YAML"))
