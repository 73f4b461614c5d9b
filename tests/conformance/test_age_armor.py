"""The ASCII form: one spelling, save for white space around it and CRLF line ends."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from pathlib import Path

import pytest

from tasks.age.armor import ArmorReader, ArmorWriter
from tasks.age.buffering import Feed, buffered
from tasks.errors import ArmorError, HeaderError
from tests.conformance.crafting import HOLDER, armor, header, opened, payload, stanza, x25519_stanza

PLAIN = b"ledger of the practice"
BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----\n"
END = b"-----END AGE ENCRYPTED FILE-----\n"


def file_of(remainder: int) -> bytes:
    """An age file whose length leaves ``remainder`` when divided by the 48 bytes of a line."""
    for filling in range(48):
        data = header(stanza("grease", "x" * (filling + 1)), x25519_stanza()) + payload(PLAIN)
        if len(data) % 48 == remainder:
            return data
    raise AssertionError("no such length")


SHORT = file_of(20)  # last line ends with one =
EVEN = file_of(0)  # last line is full
GOOD = armor(SHORT)
LINES = GOOD.splitlines(keepends=True)

ACCEPTED = {
    "plain": GOOD,
    "last line full": armor(EVEN),
    "CRLF": armor(SHORT, line_end=b"\r\n"),
    "CRLF with a full last line": armor(EVEN, line_end=b"\r\n"),
    "no line end at the end": GOOD[:-1],
    "white space before": b"\n\r\n  \t\n" + GOOD,
    "white space after": GOOD + b"\n \t\r\n\n",
    "white space of a page after": GOOD + b" \n" * 511,
    "white space of a page before": b" \n" * 400 + GOOD,
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_proper_armor_opens(name: str) -> None:
    assert opened(ACCEPTED[name]) == PLAIN


def with_line(number: int, line: bytes) -> bytes:
    return b"".join([*LINES[:number], line, *LINES[number + 1 :]])


LAST = len(LINES) - 2
TAIL = LINES[LAST][:-1]
STRAY = TAIL[:-2] + bytes([TAIL[-2] + 1]) + b"="
assert base64.b64decode(STRAY) == base64.b64decode(TAIL)

REFUSED = {
    "text before": b"Dear colleague,\n" + GOOD,
    "text before on the same line": b"x" + GOOD,
    "blanks before on the same line": b"   " + GOOD,
    "blanks before on the same line, below blank lines": b"\n\t" + GOOD,
    "blanks after on the same line": GOOD[:-1] + b"  \n",
    "blanks after on the last line": GOOD[:-1] + b"\t",
    "white space of two pages after": GOOD + b" \n" * 512,
    "text after": GOOD + b"Kind regards\n",
    "text after on the same line": GOOD[:-1] + b" x\n",
    "text after much white space": GOOD + b" " * 700_000 + b"x",
    "second armor after": GOOD + GOOD,
    "blank after BEGIN": with_line(0, LINES[0][:-1] + b" \n"),
    "blanks within BEGIN": GOOD.replace(b"-----BEGIN AGE", b"----- BEGIN AGE"),
    "other type": GOOD.replace(b"AGE ENCRYPTED FILE", b"AGE ENCRYPTED MESSAGE"),
    "small letters": GOOD.replace(b"BEGIN AGE ENCRYPTED FILE", b"begin age encrypted file"),
    "only BEGIN": BEGIN,
    "no END": b"".join(LINES[:-1]),
    "END indented": GOOD.replace(END, b" " + END),
    "END cut": GOOD[:-10],
    "END of another type": GOOD.replace(b"END AGE", b"END PGP"),
    "cut in a line": b"".join(LINES[:3])[:-30],
    "PEM headers": with_line(0, BEGIN + b"Comment: hello\n\n"),
    "empty line at the beginning": with_line(0, BEGIN + b"\n"),
    "empty line in the middle": with_line(2, LINES[2] + b"\n"),
    "empty line at the end": with_line(LAST, LINES[LAST] + b"\n"),
    "empty line after a full last line": armor(EVEN).replace(END, b"\n" + END),
    "line too short": with_line(2, LINES[2][:60] + b"\n" + LINES[2][60:]),
    "line too long": b"".join([*LINES[:2], LINES[2][:-1], LINES[3], *LINES[4:]]),
    "last line of 68 columns": armor(file_of(3))[:-39] + armor(file_of(3))[-38:],
    "line of kilobytes": b"".join(
        [BEGIN, b"".join(line[:-1] for line in LINES[1:LAST]) * 9, b"\n", *LINES[LAST:]]
    ),
    "line not a multiple of four": with_line(2, LINES[2][:63] + b"\n"),
    "padding missing": with_line(LAST, TAIL[:-1] + b"\n"),
    "padding too long": with_line(LAST, TAIL + b"=\n"),
    "padding in the middle": with_line(2, LINES[2][:60] + b"AA==\n"),
    "padding on a line of its own": with_line(LAST, TAIL[:-1] + b"\n=\n"),
    "stray bits": with_line(LAST, STRAY + b"\n"),
    "blank at a line's end": with_line(2, LINES[2][:-1] + b" \n"),
    "blank at a line's beginning": with_line(2, b" " + LINES[2]),
    "blank at the last line's end": with_line(LAST, TAIL + b" \n"),
    "two CR": with_line(2, LINES[2][:-1] + b"\r\r\n"),
    "CR alone as line end": GOOD.replace(b"\n", b"\r"),
    "character outside the alphabet": with_line(2, b"*" + LINES[2][1:]),
    "NUL": with_line(2, b"\0" + LINES[2][1:]),
    "checksum line": with_line(LAST, LINES[LAST] + b"=abcd\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_improper_armor_is_refused(name: str) -> None:
    with pytest.raises(ArmorError) as caught:
        opened(REFUSED[name])
    assert caught.value.hint
    assert not caught.value.message.endswith(".")


def test_armor_too_far_into_the_file_is_not_looked_for() -> None:
    with pytest.raises(HeaderError):
        opened(b"\n" * 5000 + GOOD)


def test_binary_file_with_white_space_before_is_refused() -> None:
    with pytest.raises(HeaderError):
        opened(b"\n" + SHORT)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 95, 96, 97, 48 * 1024, 48 * 1024 + 1, 200_000])
@pytest.mark.parametrize("step", [1, 5, 48, 1000, 1 << 20])
def test_what_the_writer_makes_is_the_one_spelling(size: int, step: int) -> None:
    data = os.urandom(size if step > 1 else min(size, 500))
    written = io.BytesIO()
    writer = ArmorWriter(written)
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
    writer.finish()
    assert written.getvalue() == armor(data)
    source = buffered(Feed(io.BytesIO(written.getvalue())))
    assert buffered(ArmorReader(source)).read() == data


STOCK = {**ACCEPTED, **REFUSED}


@pytest.mark.parametrize("name", STOCK)
def test_the_age_program_is_of_the_same_mind(name: str, tmp_path: Path) -> None:
    """But for what stands before the first line: its command looks for armor at a file's very first byte; and
    for an empty line, which is in no other place right.
    """
    data = STOCK[name]
    if not data.startswith(BEGIN[:-1]) or name == "empty line after a full last line":
        pytest.skip("the command takes it for no armor at all, or takes it")
    key = tmp_path / "key.txt"
    key.write_text(HOLDER.secret_text(), "ascii")
    done = subprocess.run(["age", "-d", "-i", key], input=data, capture_output=True, check=False)
    assert (done.returncode == 0) == (name in ACCEPTED), done.stderr
