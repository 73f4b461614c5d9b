"""Places in a copied folder: none is given twice, stand-ins are told apart."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sources.files.index import StandIns
from tests.unit.platform.test_names import NAMES, PLAIN


@pytest.mark.parametrize("name", PLAIN)
def test_usual_names_keep_their_place(name: str) -> None:
    assert StandIns().file(name) == f"files/{name}"


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
