"""The posture in words: the score, and what is open with the way to meet it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.notices.wording import MESSAGE_LIMIT, count_text, plain_text
from tasks.reports import Posture, PostureResult


@dataclass(frozen=True)
class PostureLine:
    """One open rule; ``outcome`` in a word, coloured by ``tone``."""

    name: str
    outcome: str
    tone: Literal["good", "bad", "warn"]
    detail: str
    hint: str


@dataclass(frozen=True)
class PostureFacts:
    """What a report says of the posture."""

    summary: str
    lines: tuple[PostureLine, ...]


def posture_facts(posture: Posture | None) -> PostureFacts | None:
    """The posture in words, None where it was not judged."""
    if posture is None:
        return None
    must = sum(result.must for result in posture.open)
    rest = len(posture.open) - must
    applying = sum(result.state != "not applicable" for result in posture.results)
    parts = [count_text(must, "rule that must hold is open", "rules that must hold are open")] if must else []
    parts += [count_text(rest, "other is open", "others are open")] if rest else []
    words = ", ".join(parts) or "nothing is open"
    return PostureFacts(
        summary=f"{posture.score} of 100 points by {count_text(applying, 'rule')}: {words}.",
        lines=tuple(_line(result) for result in posture.open),
    )


def posture_rows(posture: Posture) -> list[dict[str, str]]:
    """Rows of a table for the UI, the open ones first."""
    rest = [result for result in posture.results if result.state != "open"]
    return [
        {
            "State": _word(result),
            "Rule": result.demands,
            "Found": plain_text(result.found, MESSAGE_LIMIT),
            "How to meet it": result.how if result.state == "open" else "",
        }
        for result in (*posture.open, *rest)
    ]


def _line(result: PostureResult) -> PostureLine:
    return PostureLine(
        name=result.demands,
        outcome=_word(result),
        tone="bad" if result.must else "warn",
        detail=f"{result.reason} Found: {plain_text(result.found, MESSAGE_LIMIT)}.",
        hint=result.how,
    )


def _word(result: PostureResult) -> str:
    if result.state == "open":
        return "MUST" if result.must else "Open"
    return "Met" if result.state == "met" else "Not applicable"
