"""The office's disaster plan, as Markdown and as a page, from one text (runbook.md).

Foreign text (names, contacts) is escaped into the Markdown, and the page is made of that Markdown without
letting raw HTML through.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup

from tasks.notices.pages import page_html
from tasks.notices.report_page import markdown_text
from tasks.notices.scenarios import Case, Reach, Restorable, cases_of
from tasks.notices.wording import when_text
from tasks.records import Record


class Place(Record):
    """A target's line in the table. ``newest`` and ``drilled`` change with every run."""

    name: str
    what: str
    due: str
    newest: str
    drilled: str


class Runbook(Record):
    """All that the plan is made of. ``recovery``: how long a recovery took in drills, in words.

    ``dated``: whether it tells what is true today only, the newest backups and drills. A copy that lies on a
    target until what to do changes does not.
    """

    office: str
    plan: str
    contacts: tuple[str, ...]
    holders: tuple[str, ...]
    places: tuple[Place, ...]
    reaches: tuple[Reach, ...]
    sources: tuple[Restorable, ...]
    media: tuple[str, ...]
    recovery: str
    at: datetime
    dated: bool = True

    @property
    def cases(self) -> tuple[Case, ...]:
        """What to do on which bad day."""
        return cases_of(self.plan, self.sources, self.reaches)

    @property
    def edition(self) -> str:
        """Changes when what to do changes: not with each backup."""
        steady = self.model_dump_json(exclude={"at", "recovery", "places", "dated"})
        places = "".join(f"{place.name}|{place.what}|{place.due}" for place in self.places)
        return sha256(f"{steady}{places}".encode()).hexdigest()[:12]


def runbook_markdown(book: Runbook, timezone: tzinfo | None = None) -> str:
    """The plan as GitHub-flavoured Markdown."""
    facts = {
        **{name: getattr(book, name) for name in type(book).model_fields},
        "cases": book.cases,
        "edition": book.edition,
        "made": when_text(book.at, timezone),
    }
    return _template().render(book=facts)


def runbook_html(book: Runbook, timezone: tzinfo | None = None) -> str:
    """The plan as one self-contained page, made for paper too."""
    text = _MARKDOWN.render(runbook_markdown(book, timezone))
    return page_html("runbook.html", title=f"If the worst happens: {book.office}", text=Markup(text))  # noqa: S704


def edition_in(text: str) -> str:
    """The edition that a runbook says it is, "" where it says none."""
    found = [line.removeprefix(_EDITION) for line in text.splitlines() if line.startswith(_EDITION)]
    return found[0].strip() if found else ""


_EDITION = "Edition "
# Raw HTML in the text stays text.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@cache
def _template() -> Template:
    environment = Environment(  # noqa: S701 - Markdown; foreign text goes through `md`
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["md"] = markdown_text
    return environment.from_string(files(__package__).joinpath("runbook.md").read_text("utf-8"))
