"""Prefect's log on the terminal of ``serve`` and ``worker``: named in environment.py, made by Prefect."""

from __future__ import annotations

from logging import LogRecord

from prefect.logging.handlers import PrefectConsoleHandler

from tasks.notices.wording import visible_text


class CleanHandler(PrefectConsoleHandler):
    """Prefect's own handler; an error's text may be a stranger's, and shows its control characters."""

    def format(self, record: LogRecord) -> str:
        """As Prefect formats it, made harmless."""
        return visible_text(super().format(record))
