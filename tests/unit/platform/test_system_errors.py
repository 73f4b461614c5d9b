"""How a program was ended, in words."""

from __future__ import annotations

import pytest

from tasks.platform.processes import console_text
from tasks.platform.system_errors import ended_by_system
from tasks.sources.sqlanywhere.errors import cause_of


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, ""),
        (1, ""),
        (128, ""),
        (137, "signal 9 ended it"),
        (300, ""),
        (3221225477, "it reached for memory that is not its own (0xC0000005)"),
        (0xC000013A, "Ctrl-C, a log-out or a shutdown ended it (0xC000013A)"),
        (0xC0001234, "Windows ended it (0xC0001234)"),
    ],
)
def test_w9_an_end_by_the_system_is_told_in_words(code: int, words: str) -> None:
    assert ended_by_system(code) == words


def test_w9_a_tool_that_crashed_is_no_signal() -> None:
    assert "0xC0000135" in cause_of("dbvalid", 0xC0000135) and "signal" not in cause_of("dbvalid", 0xC0000135)


def test_w9_what_is_not_utf_8_is_read_all_the_same() -> None:
    assert console_text("✓ gut".encode()) == "✓ gut"
    assert "Zugriff" in console_text("Zugriff für alle".encode("cp850"))
