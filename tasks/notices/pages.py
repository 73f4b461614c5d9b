"""Pages that stand alone: opened from disk, from a mail, years later. They fetch nothing and run nothing.

``base.html`` has their look, for a desk, a telephone and paper, and a Content-Security-Policy that holds
them to it. Every text that came from elsewhere is hostile until jinja2's autoescape has escaped it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jinja2 import Environment

Tone = Literal["good", "bad", "warn", "quiet"]
"""What a word is coloured by: base.html has the colours."""


def page_html(template: str, **facts: object) -> str:
    """The page that ``template``, a file beside this one, makes of these facts."""
    return _environment().get_template(template).render(facts)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(lambda name: files(__package__).joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
