"""Pages that stand alone: opened from disk, from a mail, years later. They fetch nothing and run nothing.

``base.html`` has their look, for a desk, a telephone and paper, and a Content-Security-Policy that holds
them to it. Every text that came from elsewhere is hostile until jinja2's autoescape has escaped it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from jinja2 import Environment

Tone = Literal["good", "bad", "warn", "quiet"]
"""What a word is coloured by: base.html has the colours."""
_TYPED = re.compile(r"`([^`]+)`")


def page_html(template: str, **facts: object) -> str:
    """The page that ``template``, a file beside this one, makes of these facts."""
    return _environment().get_template(template).render(facts)


def command_html(text: str) -> Markup:
    """Something to be typed, each word in one piece: a line ends between words, never at a hyphen."""
    lines = (line.split(" ") for line in text.split("\n"))
    word = Markup('<span class="word">{}</span>')
    return Markup("\n").join(Markup(" ").join(map(word.format, words)) for words in lines)


def prose_html(text: str) -> Markup:
    """A sentence in which what is to be typed stands between backquotes, as it does in all our messages."""
    code = Markup("<code>{}</code>")
    parts = _TYPED.split(text)
    return Markup("").join(
        code.format(command_html(part)) if at % 2 else escape(part) for at, part in enumerate(parts)
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: files(__package__).joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(prose=prose_html, command=command_html)
    return environment
