"""Every strictness rule for headers and stanzas, each on a file built by hand that breaks it alone."""

from __future__ import annotations

import base64
import pickle

import pytest

from tasks.age.keys import HybridIdentity, ScryptIdentity, X25519Identity
from tasks.errors import AgeError, HeaderError, HeaderMACError, NoMatchingIdentity
from tests.conformance.crafting import (
    FILE_KEY,
    HOLDER,
    ORDER_8_POINT,
    PASSPHRASE,
    SALT,
    armor,
    b64,
    header,
    opened,
    payload,
    scrypt_body,
    scrypt_stanza,
    share,
    stanza,
    x25519_body,
    x25519_stanza,
)

PLAIN = b"ledger"
BODY = payload(PLAIN)
GOOD = header(x25519_stanza()) + BODY
PASSWORD = ScryptIdentity(PASSPHRASE, max_work_factor=12)


def spoil(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace the one occurrence of ``old``, so that a test cannot spoil nothing."""
    assert data.count(old) == 1
    return data.replace(old, new)


def stray_bits(text: str) -> str:
    """The same bytes to a lenient base64 decoder: the last character's unused low bit is set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]


def test_the_hand_built_files_are_right() -> None:
    assert opened(GOOD) == PLAIN
    assert opened(header(scrypt_stanza()) + BODY, PASSWORD) == PLAIN


SHARE = b64(share())
MAC = header(x25519_stanza())[-44:-1].decode()

MALFORMED = {
    "empty file": b"",
    "no age file at all": b"PK\x03\x04" + bytes(5000),
    "unknown version": header(x25519_stanza(), version=b"age-encryption.org/v2\n"),
    "CRLF after the version": header(x25519_stanza(), version=b"age-encryption.org/v1\r\n"),
    "CRLF everywhere": header(x25519_stanza()).replace(b"\n", b"\r\n"),
    "CR in a stanza": header(spoil(x25519_stanza(), SHARE.encode(), SHARE.encode() + b"\r")),
    "no stanza": header(),
    "stanza without arguments": header(b"->\n\n", x25519_stanza()),
    "stanza with an empty argument": header(stanza("grease", "", "x"), x25519_stanza()),
    "argument with a trailing blank": header(stanza("grease", "x "), x25519_stanza()),
    "argument with a control character": header(stanza("gre\x7fase"), x25519_stanza()),
    "argument beyond ASCII": header(stanza("größe"), x25519_stanza()),
    "stanza that begins wrongly": header(b"=> grease\n\n", x25519_stanza()),
    "stanza without a blank after the arrow": header(b"->grease\n\n", x25519_stanza()),
    "stanza without a body line": header(b"-> grease\n", x25519_stanza()),
    "body of 64 columns without a last line": header(b"-> grease\n" + b"A" * 64 + b"\n", x25519_stanza()),
    "body line too long": header(b"-> grease\n" + b"A" * 68 + b"\n\n", x25519_stanza()),
    "two short body lines": header(b"-> grease\nAAAA\nAAAA\n", x25519_stanza()),
    "padded body": header(b"-> grease\nAAA=\n", x25519_stanza()),
    "stray bits in a body": header(b"-> grease\nAAB\n", x25519_stanza()),
    "blank in a body": header(b"-> grease\nAAAA \n", x25519_stanza()),
    "body of one character": header(b"-> grease\nA\n", x25519_stanza()),
    "URL alphabet in a body": header(b"-> grease\nAA-_\n", x25519_stanza()),
    "byte beyond ASCII in a body": header(b"-> grease\nAA\xe4A\n", x25519_stanza()),
    "header of megabytes": header(*[stanza("grease", "x" * 1000)] * 2000, x25519_stanza()),
    "header that is one endless line": b"age-encryption.org/v1\n-> " + b"x" * (3 << 20),
    "header cut in a stanza": GOOD[:60],
    "header cut before the MAC": GOOD[: GOOD.index(b"---")],
    "header cut in the MAC": GOOD[: GOOD.index(b"---") + 20],
    "MAC padded": spoil(GOOD, MAC.encode(), MAC.encode() + b"="),
    "MAC with stray bits": spoil(GOOD, MAC.encode(), stray_bits(MAC).encode()),
    "MAC too short": spoil(GOOD, MAC.encode(), b64(bytes(31)).encode()),
    "MAC too long": spoil(GOOD, MAC.encode(), b64(bytes(33)).encode()),
    "MAC missing": spoil(GOOD, b" " + MAC.encode(), b""),
    "MAC after two blanks": spoil(GOOD, b"--- ", b"---  "),
    "MAC without a blank": spoil(GOOD, b"--- ", b"---"),
    "MAC with a trailing blank": spoil(GOOD, MAC.encode(), MAC.encode() + b" "),
    "four dashes": spoil(GOOD, b"--- ", b"---- "),
    "X25519 without a share": header(stanza("X25519", body=x25519_body())),
    "X25519 with one argument more": header(stanza("X25519", SHARE, "more", body=x25519_body())),
    "share padded": header(stanza("X25519", SHARE + "=", body=x25519_body())),
    "share with stray bits": header(stanza("X25519", stray_bits(SHARE), body=x25519_body())),
    "share too short": header(stanza("X25519", b64(share()[:31]), body=x25519_body())),
    "share too long": header(stanza("X25519", b64(share() + b"\0"), body=x25519_body())),
    "share of zero": header(stanza("X25519", b64(bytes(32)), body=x25519_body())),
    "share of low order": header(stanza("X25519", b64(ORDER_8_POINT), body=x25519_body())),
    "X25519 body too short": header(stanza("X25519", SHARE, body=x25519_body()[:31])),
    "file key too long": header(stanza("X25519", SHARE, body=x25519_body(FILE_KEY + b"\0"))),
    "file key too short": header(stanza("X25519", SHARE, body=x25519_body(FILE_KEY[:15]))),
    "X25519 body empty": header(stanza("X25519", SHARE)),
    "malformed stanza behind one that fits not": header(
        stanza("X25519", b64(ORDER_8_POINT[::-1]), body=bytes(32)), stanza("X25519", SHARE, body=bytes(33))
    ),
    "passphrase beside a key": header(scrypt_stanza(), x25519_stanza()),
    "key beside a passphrase": header(x25519_stanza(), scrypt_stanza()),
    "two passphrases": header(scrypt_stanza(), scrypt_stanza()),
    "passphrase beside an unknown stanza": header(scrypt_stanza(), stanza("grease")),
    "no nonce": header(x25519_stanza()),
    "nonce cut": header(x25519_stanza()) + BODY[:15],
}

BODY_2 = scrypt_body(2)
MALFORMED_SCRYPT = {
    "salt missing": stanza("scrypt", "2", body=BODY_2),
    "argument too many": stanza("scrypt", b64(SALT), "2", "2", body=BODY_2),
    "salt too short": stanza("scrypt", b64(SALT[:15]), "2", body=scrypt_body(2, SALT[:15])),
    "salt too long": stanza("scrypt", b64(SALT + b"\0"), "2", body=scrypt_body(2, SALT + b"\0")),
    "salt with stray bits": stanza("scrypt", stray_bits(b64(SALT)), "2", body=BODY_2),
    "salt padded": stanza("scrypt", b64(SALT) + "==", "2", body=BODY_2),
    "factor with a leading zero": scrypt_stanza(2, written="02"),
    "factor with a plus": scrypt_stanza(2, written="+2"),
    "factor negative": scrypt_stanza(2, written="-2"),
    "factor zero": scrypt_stanza(2, written="0"),
    "factor in hex": scrypt_stanza(2, written="0x2"),
    "factor with garbage": scrypt_stanza(2, written="2a"),
    "factor with an underscore": scrypt_stanza(10, written="1_0"),
    "factor above the cap": scrypt_stanza(13),
    "factor far above the cap": scrypt_stanza(2, written="99"),
    # Python refuses to turn more than 4300 digits into a number, with an error of its own.
    "factor of five thousand digits": scrypt_stanza(2, written="9" * 5000),
    "body too long": stanza("scrypt", b64(SALT), "2", body=scrypt_body(2, file_key=FILE_KEY + b"\0")),
    "body too short": stanza("scrypt", b64(SALT), "2", body=BODY_2[:31]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_header_is_refused(name: str) -> None:
    data = MALFORMED[name]
    if data.endswith(b"\n") and name != "no nonce":
        data += BODY
    with pytest.raises(HeaderError) as caught:
        opened(data, HOLDER, PASSWORD)
    assert caught.value.hint
    assert not caught.value.message.endswith(".")


@pytest.mark.parametrize("name", MALFORMED_SCRYPT)
def test_malformed_scrypt_stanza_is_refused(name: str) -> None:
    with pytest.raises(HeaderError):
        opened(header(MALFORMED_SCRYPT[name]) + BODY, PASSWORD)


def test_the_cap_itself_is_accepted() -> None:
    assert opened(header(scrypt_stanza(12)) + BODY, PASSWORD) == PLAIN


def test_malformed_header_in_armor_is_refused() -> None:
    with pytest.raises(HeaderError):
        opened(armor(b""))


GREASE = [
    stanza("grease"),
    stanza("joint.example/enigma", "!~", "#", body=bytes(47)),
    stanza("x25519", "lower-case", body=bytes(32)),
    stanza("64-columns", body=bytes(48)),
    stanza("128-columns", body=bytes(96)),
    stanza("long", "x" * 9000, body=bytes(100_000)),
]


@pytest.mark.parametrize("grease", GREASE, ids=lambda text: str(text[3:14]))
def test_unknown_stanzas_are_passed_over(grease: bytes) -> None:
    assert opened(header(grease, x25519_stanza()) + BODY) == PLAIN
    assert opened(header(x25519_stanza(), grease) + BODY) == PLAIN


def test_only_unknown_stanzas_is_no_match() -> None:
    with pytest.raises(NoMatchingIdentity):
        opened(header(*GREASE) + BODY)


ALTERED = {
    "unknown stanza added": (x25519_stanza(), stanza("grease") + x25519_stanza()),
    "stanza doubled": (x25519_stanza(), x25519_stanza() * 2),
    "argument of an unknown stanza": (b"-> grease one", b"-> grease two"),
    "body of an unknown stanza": (b"\nAAAA\n", b"\nAAAB\n"),
    "unknown stanza removed": (b"-> grease one\nAAAA\n", b""),
    "MAC itself": (b"--- ", None),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_header_is_refused(name: str) -> None:
    old, new = ALTERED[name]
    data = header(b"-> grease one\nAAAA\n", x25519_stanza())
    if new is None:
        place = data.index(old) + len(old)
        data = data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]
    else:
        data = spoil(data, old, new)
    with pytest.raises(HeaderMACError):
        opened(data + BODY)


def test_stanzas_in_another_order_are_refused() -> None:
    first, second = stanza("grease"), x25519_stanza()
    swapped = spoil(header(first, second), first + second, second + first)
    with pytest.raises(HeaderMACError):
        opened(swapped + BODY)


def test_wrong_key_is_no_match_and_the_next_key_is_tried() -> None:
    stranger = X25519Identity.generate()
    with pytest.raises(NoMatchingIdentity, match="holders"):
        opened(GOOD, stranger, PASSWORD)
    assert opened(GOOD, stranger, PASSWORD, HybridIdentity.generate(), HOLDER) == PLAIN


def test_wrong_passphrase_is_no_match_and_says_passphrase() -> None:
    with pytest.raises(NoMatchingIdentity, match="passphrase"):
        opened(header(scrypt_stanza()) + BODY, ScryptIdentity("another one"))


def test_altered_wrapped_key_is_no_match() -> None:
    body = bytearray(x25519_body())
    body[-1] ^= 1
    with pytest.raises(NoMatchingIdentity):
        opened(header(stanza("X25519", SHARE, body=bytes(body))) + BODY)


def hybrid_stanza(identity: HybridIdentity) -> tuple[str, bytes]:
    wrapped = identity.recipient().wrap(FILE_KEY)
    return wrapped.args[1], wrapped.body


HYBRID = HybridIdentity(bytes(range(32)))
ENCAPSULATED, HYBRID_BODY = hybrid_stanza(HYBRID)


def enlarged(text: str, more: bytes) -> str:
    return b64(base64.b64decode(text + "=" * (-len(text) % 4)) + more)


MALFORMED_HYBRID = {
    "no encapsulated key": stanza("mlkem768x25519", body=HYBRID_BODY),
    "argument too many": stanza("mlkem768x25519", ENCAPSULATED, "x", body=HYBRID_BODY),
    "encapsulated key too short": stanza("mlkem768x25519", ENCAPSULATED[:-4], body=HYBRID_BODY),
    "encapsulated key too long": stanza("mlkem768x25519", enlarged(ENCAPSULATED, b"\0"), body=HYBRID_BODY),
    "encapsulated key with stray bits": stanza("mlkem768x25519", stray_bits(ENCAPSULATED), body=HYBRID_BODY),
    "encapsulated key padded": stanza("mlkem768x25519", ENCAPSULATED + "=", body=HYBRID_BODY),
    "body too short": stanza("mlkem768x25519", ENCAPSULATED, body=HYBRID_BODY[:31]),
    "body too long": stanza("mlkem768x25519", ENCAPSULATED, body=HYBRID_BODY + b"\0"),
    "share of zero": stanza("mlkem768x25519", b64(bytes(1120)), body=HYBRID_BODY),
    "share of low order": stanza("mlkem768x25519", b64(bytes(1088) + ORDER_8_POINT), body=HYBRID_BODY),
    "X25519 with its key": stanza("X25519", ENCAPSULATED, body=HYBRID_BODY),
}


@pytest.mark.parametrize("name", MALFORMED_HYBRID)
def test_malformed_hybrid_stanza_is_refused(name: str) -> None:
    with pytest.raises(HeaderError):
        opened(header(MALFORMED_HYBRID[name]) + BODY, HYBRID, HOLDER)


def test_proper_hybrid_stanza_opens_and_an_altered_one_does_not() -> None:
    good = stanza("mlkem768x25519", ENCAPSULATED, body=HYBRID_BODY)
    assert opened(header(good) + BODY, HybridIdentity.generate(), HYBRID) == PLAIN
    altered = stanza("mlkem768x25519", ENCAPSULATED, body=bytes(32))
    with pytest.raises(NoMatchingIdentity):
        opened(header(altered) + BODY, HYBRID)


def test_errors_survive_the_way_between_processes() -> None:
    with pytest.raises(AgeError) as caught:
        opened(b"nothing")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
