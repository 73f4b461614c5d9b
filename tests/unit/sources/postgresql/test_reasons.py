"""What the server's messages are handed on for: names of objects, never a row's value."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.sources.postgresql.definitions import differing, entry_hashes
from tasks.sources.postgresql.errors import code_fault, reason_in


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("ERROR:  function b(integer) does not exist\nLINE 1: x", "function b(integer) does not exist"),
        ('ERROR:  relation "visits" does not exist', 'relation "visits" does not exist'),
        (
            'ERROR:  new row for relation "t" violates check constraint "c"\nDETAIL:  Row contains (Ursula)',
            'new row for relation "t" violates check constraint "c"',
        ),
        ('ERROR:  invalid input syntax for type integer: "Ursula"', "invalid input syntax for type integer"),
        (
            'ERROR:  invalid input value for enum sex: "Ursula"',
            "invalid input value for enum sex",
        ),
        ('ERROR:  date/time field value out of range: "Ursula"', "date/time field value out of range"),
        (
            'ERROR:  could not create unique index "u"\nDETAIL:  Key (name)=(Ursula) is duplicated.',
            'could not create unique index "u"',
        ),
        ("ERROR:  operator does not exist: Ursula = text", "operator does not exist"),
        ("ERROR:  Ursula has no visits", ""),
        ('ERROR:  patient "Ursula" does not exist', ""),
        (
            'ERROR:  relation "Ursula" does not exist\nCONTEXT:  PL/pgSQL function f() line 1 at RAISE',
            "",
        ),
        ("ERROR:  division by zero", "division by zero"),
    ],
)
def test_a_reason_holds_no_value(message: str, reason: str) -> None:
    assert reason_in(message) == reason


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (
            'ERROR:  function b(integer) does not exist\nCONTEXT:  SQL function "f" during inlining',
            "function b(integer) does not exist, in the function f",
        ),
        (
            "ERROR:  Ursula\nCONTEXT:  PL/pgSQL function public.f(integer) line 1 at RAISE",
            "it raised an error, whose text may quote a row, in the function public.f",
        ),
        (
            "    ERROR:  Ursula\n    CONTEXT:  SQL statement \"SELECT 'Ursula'\"\n"
            "    PL/pgSQL function g(integer) line 1 at IF",
            "it raised an error, whose text may quote a row, in the function g",
        ),
        ('ERROR:  item order invariant violated for index "i"', ""),
        ('ERROR:  heap tuple (0,1) from table "t" lacks matching index tuple within index "i"', ""),
        ('ERROR:  could not read block 7 in file "base/5/16400": read only 0 of 8192 bytes', ""),
        ("ERROR:  invalid page in block 7 of relation base/5/16400", ""),
    ],
)
def test_damage_is_not_taken_for_code(message: str, fault: str) -> None:
    assert code_fault(message) == fault


ENTRY = """
--
-- Name: visits; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.visits (
    id integer
);
"""
HEAD = (
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict {}\n\n-- Dumped by pg_dump version {}\nSET x = on;\n"
)
STATE = "SET default_tablespace = fast;\n"
DATA = "--\n-- Name: v; Type: MATERIALIZED VIEW DATA; Schema: public; Owner: p\n--\n\nREFRESH {};\n"


def hashes(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "script"
    path.write_text(text)
    return entry_hashes(path)


def test_definitions_are_told_apart(tmp_path: Path) -> None:
    """What differs from run to run does not count; a letter, an entry, a tablespace do."""
    good = hashes(tmp_path, HEAD.format("abc", 1) + STATE + ENTRY + DATA.format("v"))
    assert set(good) == {"the beginning", "TABLE public.visits"}
    same = hashes(tmp_path, HEAD.format("xyz", 2) + STATE + "\n" + ENTRY + DATA.format("w"))
    assert differing(good, same) == []
    for text in (
        HEAD + STATE + ENTRY.replace("integer", "integes"),
        HEAD + STATE + ENTRY.replace("Owner: postgres", "Owner: nobody"),
        HEAD + ENTRY,
    ):
        assert differing(good, hashes(tmp_path, text)) == ["TABLE public.visits"]
    assert differing(good, hashes(tmp_path, HEAD.replace("on;", "off;") + STATE + ENTRY)) == ["the beginning"]
    other = hashes(tmp_path, HEAD + STATE + ENTRY.replace("Name: visits", "Name: visitt"))
    assert differing(good, other) == ["TABLE public.visits", "TABLE public.visitt"]
