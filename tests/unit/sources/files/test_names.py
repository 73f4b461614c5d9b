"""Names in a copied folder: every archive takes them, none is lost, stand-ins are told apart."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.archive.names import name_defect
from tasks.sources.files.names import LONGEST_PART, StandIns, impossible, path_of, portable, shown, text_of

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
    assert len(stand_in.encode("utf-8")) <= LONGEST_PART


@pytest.mark.parametrize("name", PLAIN)
def test_usual_names_stay(name: str) -> None:
    assert portable(name) == name
    assert StandIns().file(name) == f"files/{name}"


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


@given(st.lists(NAMES, unique=True, max_size=12))
def test_no_two_files_share_a_place_on_any_system(names: list[bytes]) -> None:
    stand_ins = StandIns()
    places = [stand_ins.file(os.fsdecode(name)) for name in names]
    assert len({place.casefold() for place in places}) == len(names)


def test_names_that_differ_by_case_or_accents_are_told_apart() -> None:
    stand_ins = StandIns()
    names = ["Letter.txt", "letter.txt", "LETTER.TXT", "\u00e9.doc", "e\u0301.doc", "ı", "I"]
    places = [stand_ins.file(name) for name in names]
    assert places == [
        "files/Letter.txt",
        "files/letter%~2.txt",
        "files/LETTER%~3.TXT",
        "files/\u00e9.doc",
        "files/e\u0301%~2.doc",
        "files/ı",
        "files/I%~2",
    ]


def test_long_paths_are_numbered_apart() -> None:
    stand_ins, path = StandIns(), ""
    for letter in "abcdefghij":
        path = f"{path}/{letter * 240}".lstrip("/")
        stand_ins.folder(path)
    assert stand_ins.file(f"{path}/one") == "long/00000001"
    assert stand_ins.file(f"{path}/two") == "long/00000002"
    assert stand_ins.file("short") == "files/short"


def test_what_windows_cannot_hold_is_named() -> None:
    names = ["fine.txt", "Fine.txt", "a:b", "x" * 300]
    told = impossible(names, windows=True)
    assert told[0] == "Fine.txt (Windows takes it for the same name as another)"
    assert told[1] == "a:b (Windows does not allow this name)"
    assert impossible(names, windows=False) == [f"{shown('x' * 300)} (longer than 255 bytes)"]


def test_shown_is_one_short_line() -> None:
    assert shown("a\nb\udcff") == "a%0Ab%FF"
    assert len(shown("x" * 5000)) == 120
    assert "\u202e" not in shown("evil\u202etxt.exe")
