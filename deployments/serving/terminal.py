"""The one way to the terminal: whatever is shown, no text of somebody else's can steer it.

Names in a manifest, a table, a file or a server's message may hold escape sequences, which move the cursor,
write over what stood there or change the clipboard, and marks that make a line read backwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tasks.notices.wording import visible_text


class Terminal(Console):
    """A console on which control characters show as their numbers; its own colours and bars are its own."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Before it is measured, so that tables stay straight."""
        return super().render_str(visible_text(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What came some other way than as a text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible_text(segment.text))


def failure_text(message: str, hint: str) -> str:
    """A failure in one line, and below it what to do; for programs that have no console."""
    return visible_text(f"✗ {message}" + (f"\n  → {hint}" if hint else ""))
