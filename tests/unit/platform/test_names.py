"""Names of files: every archive takes a stand-in, none is lost, what a system cannot hold is named."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.platform.names import (
    LONGEST_NAME,
    folded,
    link_defect,
    name_defect,
    path_of,
    portable,
    shown,
    text_of,
    unfit_paths,
)

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, 47} & {*name} and name not in (b".", b"..")
)
PLAIN = [
    "letter.docx",
    "Besuche – März.csv",
    "100%",
    "a'b",
    "~$open.doc",
    ".hidden",
    "console.log",
    "#recycle",
]


@given(NAMES)
def test_text_holds_any_bytes(name: bytes) -> None:
    text = text_of(os.fsdecode(name))
    assert os.fsencode(path_of(text)) == name
    text.encode("utf-8")
    assert not any(ord(char) < 32 for char in text)


@given(NAMES)
def test_every_archive_takes_a_stand_in(name: bytes) -> None:
    stand_in = portable(os.fsdecode(name))
    assert not name_defect(stand_in, windows=True)
    assert len(stand_in.encode("utf-8")) <= LONGEST_NAME


@pytest.mark.parametrize("name", PLAIN)
def test_usual_names_stay(name: str) -> None:
    assert portable(name) == name
    assert not name_defect(name, windows=True)


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [
        ("a:b", "a%3Ab"),
        ("back\\slash", "back%5Cslash"),
        ("what?", "what%3F"),
        ("end.", "end%2E"),
        ("end ", "end%20"),
        ("aux", "%61ux"),
        ("COM1.txt", "%43OM1.txt"),
        ("two\nlines", "two%0Alines"),
        ("\udcff", "%FF"),
        ("x" * 300, "x" * 255),
    ],
)
def test_odd_names_get_stand_ins(name: str, stand_in: str) -> None:
    assert portable(name) == stand_in


def test_what_windows_cannot_hold_is_named() -> None:
    names = ["fine.txt", "Fine.txt", "a:b", "x" * 300]
    told = list(unfit_paths(names, windows=True))
    assert told[0] == ("Fine.txt", "Windows takes it for the same name as another")
    assert told[1] == ("a:b", "Windows does not allow this name")
    assert list(unfit_paths(names, windows=False)) == [("x" * 300, "longer than 255 bytes")]


def test_shown_is_one_short_line() -> None:
    assert shown("a\nb\udcff") == "a%0Ab%FF"
    assert len(shown("x" * 5000)) == 120
    assert "\u202e" not in shown("evil\u202etxt.exe")


@pytest.mark.parametrize(
    "name",
    [
        "con",
        "NUL.txt",
        "a/COM1",
        "lpt9.log",
        "aux .txt",
        "conout$",
        "ab:stream",
        "a?",
        'q"',
        "bell\a",
        "dot.",
        "space ",
    ],
)
def test_names_that_mean_something_else_on_windows(name: str) -> None:
    assert name_defect(name, windows=True)
    assert not name_defect(name, windows=False)


@pytest.mark.parametrize(
    "name", ["console", "null", "com", "com10", ".hidden", "a b.c", "Zähne – März/x", "nul_"]
)
def test_names_that_are_good_everywhere(name: str) -> None:
    assert not name_defect(name, windows=True)


@pytest.mark.parametrize(
    ("name", "target"), [("l", "a"), ("l", "./a//b/"), ("d/l", "../a"), ("d/e/l", "../../a"), ("d/l", ".")]
)
def test_links_that_stay_inside(name: str, target: str) -> None:
    assert not link_defect(name, target)


def test_folding_plain_text_is_what_folding_any_text_is() -> None:
    """By the long way, which another character beside it takes."""
    plain = "".join(map(chr, range(128)))
    assert folded(f"{plain}ß") == f"{folded(plain)}ss"
