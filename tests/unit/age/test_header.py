"""The header parser against its own writer and against whatever a random generator thinks of."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.age.buffering import Feed, buffered
from tasks.age.header import Header, Stanza, read_header, serialise
from tasks.errors import HeaderError, HeaderMACError

KEY = bytes(range(16))
ARGUMENT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=70)
STANZAS = st.lists(
    st.builds(Stanza, st.lists(ARGUMENT, min_size=1, max_size=4).map(tuple), st.binary(max_size=200)),
    min_size=1,
    max_size=5,
)


def parsed(data: bytes) -> tuple[Header, bytes]:
    source = buffered(Feed(io.BytesIO(data)))
    return read_header(source), source.read()


@settings(deadline=None)
@given(STANZAS, st.binary(max_size=100))
def test_what_was_written_is_read_and_the_rest_is_left(stanzas: list[Stanza], rest: bytes) -> None:
    data = serialise(stanzas, KEY)
    header, left = parsed(data + rest)
    assert list(header.stanzas) == stanzas
    assert left == rest
    assert data.startswith(header.covered + b" ")
    header.verify(KEY)
    with pytest.raises(HeaderMACError):
        header.verify(bytes(16))


@settings(max_examples=300)
@given(st.data(), STANZAS)
def test_a_header_has_one_spelling(draw: st.DataObject, stanzas: list[Stanza]) -> None:
    """Whatever is read without an error is, byte by byte, what the writer would have written."""
    data = serialise(stanzas, KEY)
    start = draw.draw(st.integers(0, len(data) - 1))
    end = draw.draw(st.integers(start, min(len(data), start + 20)))
    piece = draw.draw(st.one_of(st.binary(max_size=20), st.text("-> \r\n=A", max_size=6).map(str.encode)))
    mutated = data[:start] + piece + data[end:]
    try:
        header, left = parsed(mutated)
    except HeaderError:
        return
    again = serialise(header.stanzas, KEY)
    assert again.startswith(header.covered + b" ")
    assert mutated[: len(again)].startswith(header.covered)
    if mutated != data and header.covered != data[: len(header.covered)]:
        with pytest.raises(HeaderMACError):
            header.verify(KEY)
    assert len(mutated) == len(again) + len(left)


@pytest.mark.parametrize("length", [0, 1, 47, 48, 49, 95, 96, 97, 144])
def test_body_ends_with_a_line_of_fewer_than_64_columns(length: int) -> None:
    data = serialise([Stanza(("kind",), bytes(length))], KEY)
    body = data.split(b"\n")[2:-2]
    assert [len(line) for line in body[:-1]] == [64] * (length // 48)
    assert len(body[-1]) < 64
    assert parsed(data)[0].stanzas[0].body == bytes(length)
