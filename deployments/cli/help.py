"""``datasave help``: the guide, by topics, as it ships with the program."""

from __future__ import annotations

import pydoc
import re
from collections.abc import Sequence
from pathlib import Path

from deployments.cli.screen import out, say, verbatim
from tasks.errors import DatasaveError
from tasks.plan.problems import did_you_mean, shown

FOLDER = Path(__file__).parents[1] / "help"
# By what brings somebody here; `tests/unit/test_guide.py` holds that each file is in it once.
TOPICS: dict[str, Sequence[str]] = {
    "To begin with": ("install", "start", "plan", "sources", "targets", "keys", "schedule", "notices"),
    "When data is lost": ("restore", "worst-day", "troubleshooting"),
    "To be sure of it": ("drills", "retention", "ransomware", "security", "auditors"),
    "Engines": ("sql-anywhere", "postgresql", "mariadb", "sql-server", "sqlite", "files"),
    "Places and machines": ("drives", "s3", "windows", "fleet"),
    "Figures": ("performance", "exit-codes"),
}
NAMES = tuple(name for names in TOPICS.values() for name in names)


def show_help(topic: str | None = None, /) -> int:
    """List the topics of the guide, or read one. Needs no network and no plan.

    What a command takes is told by `datasave COMMAND --help`.

    **Examples:**

        datasave help

        datasave help restore

    Args:
        topic: One of those that `datasave help` lists.
    """
    if topic is None:
        _list()
    elif topic in NAMES:
        _read(as_read(text_of(topic)))
    else:
        raise _unknown(topic)
    return 0


def text_of(topic: str) -> str:
    """A topic as it stands in its file, in Markdown."""
    return (FOLDER / f"{topic}.md").read_text("utf-8")


def about(topic: str) -> str:
    """What a topic is about, in one line: the first below its heading."""
    return text_of(topic).split("\n\n", 2)[1].replace("\n", " ")


def as_read(text: str) -> str:
    """A topic without what only the repository shows: pictures, and where links lead."""
    without_pictures = re.sub(r"^!\[.*\n\n?", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", without_pictures)


def _list() -> None:
    say("`datasave help TOPIC` shows one of these, `datasave COMMAND --help` a command.")
    for heading, names in TOPICS.items():
        say(f"\n{heading}")
        for name in names:
            say(f"  {name:16}{about(name)}")


def _read(text: str) -> None:
    """Through the pager where that is a person's, and the text is longer than the screen."""
    if out.is_terminal and text.count("\n") >= out.height:
        pydoc.pager(text)
    else:
        verbatim(text.rstrip("\n"))


def _unknown(topic: str) -> DatasaveError:
    near = did_you_mean(topic, NAMES) or _spoken_of(topic)
    return DatasaveError(f"{shown(topic)} is no topic of the guide{near}", hint="`datasave help` lists them.")


def _spoken_of(word: str) -> str:
    """``; it is in …``: the topics in which a word occurs most often, or nothing."""
    counts = {name: text_of(name).lower().count(word.lower()) for name in NAMES}
    most = sorted((name for name in NAMES if counts[name]), key=lambda name: -counts[name])[:3]
    return f"; it occurs in {', '.join(f'`{name}`' for name in most)}" if most else ""
