"""Base64 and Bech32: one spelling for each value, and only the promised error for all others."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.age.encoding import decode_base64, decode_bech32, encode_base64, encode_bech32
from tasks.errors import HeaderError, KeyFormatError

PREFIXES = st.sampled_from(["age", "age1pq", "age-secret-key-", "age-secret-key-pq-", "1", "a1b1"])
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_base64_comes_back(data: bytes) -> None:
    text = encode_base64(data)
    assert text == base64.b64encode(data).decode().rstrip("=")
    assert decode_base64(text) == data


@settings(deadline=None)
@given(st.one_of(st.text(max_size=20), st.text("AQgw/+=\n -_", max_size=20)))
def test_base64_has_one_spelling(text: str) -> None:
    try:
        data = decode_base64(text)
    except HeaderError:
        return
    assert encode_base64(data) == text


@pytest.mark.parametrize(
    "text", ["QQ==", "QR", "QUI=", "QUJ", "Q", "QUJD\n", "QU JD", "QUJD=", "=", "QU_D", "QUJDé"]
)
def test_base64_refuses(text: str) -> None:
    if text == "QUJ":
        # Stray bits: a lenient decoder reads "AB" here, as it does from QUI.
        assert base64.b64decode("QUJ=") == base64.b64decode("QUI=")
    with pytest.raises(HeaderError):
        decode_base64(text)


@settings(deadline=None)
@given(PREFIXES, st.binary(max_size=1300))
def test_bech32_comes_back_in_either_case(prefix: str, data: bytes) -> None:
    text = encode_bech32(prefix, data)
    assert decode_bech32(text) == (prefix, data)
    assert decode_bech32(text.upper()) == (prefix.upper(), data)


@settings(deadline=None)
@given(PREFIXES, st.binary(min_size=1, max_size=40), st.data())
def test_bech32_notices_one_wrong_character(prefix: str, data: bytes, draw: st.DataObject) -> None:
    text = encode_bech32(prefix, data)
    place = draw.draw(st.integers(len(prefix) + 1, len(text) - 1))
    wrong = draw.draw(st.sampled_from([letter for letter in BECH32 if letter != text[place]]))
    with pytest.raises(KeyFormatError):
        decode_bech32(text[:place] + wrong + text[place + 1 :])


@settings(deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.text("1" + BECH32, max_size=60), st.text("ageAGE1qQ -\n", max_size=60))
)
def test_bech32_raises_nothing_else(text: str) -> None:
    try:
        prefix, data = decode_bech32(text)
    except KeyFormatError:
        return
    assert encode_bech32(prefix.lower(), data) == text.lower()


def with_checksum(prefix: str, words: list[int]) -> str:
    """Bech32 of arbitrary words, the checksum made by trying: by BIP 173's generator, written afresh."""

    def step(checksum: int, value: int) -> int:
        top = checksum >> 25
        checksum = ((checksum & 0x1FFFFFF) << 5) ^ value
        for bit, term in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            checksum ^= term if top >> bit & 1 else 0
        return checksum

    checksum = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *words, *[0] * 6]:
        checksum = step(checksum, value)
    checksum ^= 1
    tail = [(checksum >> 5 * (5 - place)) & 31 for place in range(6)]
    return prefix + "1" + "".join(BECH32[word] for word in words + tail)


def test_bech32_refuses_what_is_not_canonical() -> None:
    assert decode_bech32(with_checksum("age", [0, 0])) == ("age", b"\0")
    for words in ([0, 1], [0, 0, 0], [0], [0] * 6, [31] * 3 + [31]):
        with pytest.raises(KeyFormatError, match="canonical"):
            decode_bech32(with_checksum("age", words))


@pytest.mark.parametrize(
    "text", ["", "1", "age", "age1", "1qqqqqq", "age1qqqqq", "aGe1qqqqqqqq", "äge1qqqqqqqq", "a ge1qqqqqqqq"]
)
def test_bech32_refuses(text: str) -> None:
    with pytest.raises(KeyFormatError):
        decode_bech32(text)


@pytest.mark.parametrize(
    "text", ["A12UEL5L", "a12uel5l", "?1ezyfcl", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"]
)
def test_bech32_agrees_with_bip_173(text: str) -> None:
    """Valid strings of BIP 173; the last one's 160 bits are the 20 bytes 00443214c7…"""
    prefix, data = decode_bech32(text)
    assert encode_bech32(prefix.lower(), data) == text.lower()
    if len(text) > 10:
        assert data.hex() == "00443214c74254b635cf84653a56d7c675be77df"
