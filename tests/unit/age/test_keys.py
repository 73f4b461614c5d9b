"""Keys from text and back; what is wrong with them is said without ever quoting them."""

from __future__ import annotations

import pytest

from tasks.age.encoding import encode_bech32
from tasks.age.keys import (
    HybridIdentity,
    ScryptIdentity,
    ScryptRecipient,
    X25519Identity,
    X25519Recipient,
    parse_identity,
    parse_identity_file,
    parse_recipient,
)
from tasks.errors import KeyFormatError

KINDS = (X25519Identity, HybridIdentity)
ORDER_8_POINT = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")


@pytest.mark.parametrize("kind", KINDS)
def test_text_forms_come_back(kind: type[X25519Identity] | type[HybridIdentity]) -> None:
    identity = kind.generate()
    assert parse_identity(identity.secret_text()).secret_text() == identity.secret_text()
    recipient = identity.recipient()
    assert parse_recipient(str(recipient)) == recipient
    assert parse_recipient(f"  {recipient}\n") == recipient
    assert hash(parse_recipient(str(recipient))) == hash(recipient)
    assert recipient != kind.generate().recipient()


def test_forms_begin_as_the_format_says() -> None:
    assert str(X25519Identity.generate().recipient()).startswith("age1")
    assert X25519Identity.generate().secret_text().startswith("AGE-SECRET-KEY-1")
    assert str(HybridIdentity.generate().recipient()).startswith("age1pq1")
    assert HybridIdentity.generate().secret_text().startswith("AGE-SECRET-KEY-PQ-1")


def test_known_key_pair() -> None:
    """Alice of RFC 7748 section 6.1: the public key that belongs to the private one."""
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert X25519Identity(private).recipient() == X25519Recipient(public)


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_stay_out_of_text(kind: type[X25519Identity] | type[HybridIdentity]) -> None:
    identity = kind.generate()
    secret = identity.secret_text().split("KEY-")[1]
    for shown in (repr(identity), str(identity), f"{identity}", repr([identity])):
        assert secret[3:11].lower() not in shown.lower()
    for spoiled in (
        secret[:-1],
        "AGE-SECRET-KEY-" + secret[:20] + "q" + secret[21:-1],
        "AGE-SECRET-KEY-" + secret[:-1] + "i",
    ):
        with pytest.raises(KeyFormatError) as caught:
            parse_identity(spoiled)
        assert secret[3:11].lower() not in str(caught.value).lower()
        assert caught.value.__cause__ is None


def test_passphrases_stay_out_of_text() -> None:
    for holder in (ScryptRecipient("open sesame", 1), ScryptIdentity("open sesame")):
        assert "sesame" not in repr(holder) + str(holder)
    with pytest.raises(KeyFormatError) as caught:
        ScryptIdentity("open sesame \ud800")
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


GOOD = str(X25519Identity.generate().recipient())
BAD_RECIPIENTS = {
    "empty": "",
    "word": "owner",
    "capitals": GOOD.upper(),
    "mixed case": GOOD[:-1] + GOOD[-1].upper() if GOOD[-1].isalpha() else GOOD[:10].upper() + GOOD[10:],
    "cut": GOOD[:-1],
    "longer": GOOD + "q",
    "mistyped": GOOD[:20] + ("q" if GOOD[20] != "q" else "p") + GOOD[21:],
    "foreign character": GOOD[:20] + "é" + GOOD[21:],
    "blank inside": GOOD[:20] + " " + GOOD[20:],
    "two on a line": f"{GOOD} {GOOD}",
    "other prefix": encode_bech32("abe", bytes(32)),
    "plugin": encode_bech32("age1yubikey", bytes(33)),
    "ssh": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA",
    "31 bytes": encode_bech32("age", b"x" * 31),
    "33 bytes": encode_bech32("age", b"x" * 33),
    "zero point": encode_bech32("age", bytes(32)),
    "low order point": encode_bech32("age", ORDER_8_POINT),
    "short hybrid": encode_bech32("age1pq", bytes(1215)),
    "impossible hybrid": encode_bech32("age1pq", b"\xff" * 1216),
    "hybrid with a zero point": encode_bech32("age1pq", bytes(1216)),
    "identity": X25519Identity.generate().secret_text(),
    "hybrid identity": HybridIdentity.generate().secret_text(),
}


@pytest.mark.parametrize("name", BAD_RECIPIENTS)
def test_bad_recipient_is_refused(name: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        parse_recipient(BAD_RECIPIENTS[name])
    assert caught.value.hint


def test_secret_in_place_of_a_recipient_is_named_for_what_it_is() -> None:
    for name in ("identity", "hybrid identity"):
        with pytest.raises(KeyFormatError, match="secret key as a recipient"):
            parse_recipient(BAD_RECIPIENTS[name])
        with pytest.raises(KeyFormatError, match="secret key as a recipient"):
            parse_recipient(BAD_RECIPIENTS[name].lower())


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD,
        X25519Identity.generate().secret_text().lower(),
        encode_bech32("age-secret-key-", bytes(31)).upper(),
        encode_bech32("age-secret-key-pq-", bytes(33)).upper(),
        encode_bech32("age-plugin-yubikey-", bytes(8)).upper(),
    ],
    # Keys are made anew each time: two processes that share the tests must know them by the same names.
    ids=["nothing", "recipient", "lower case", "too short", "too long", "plugin"],
)
def test_bad_identity_is_refused(text: str) -> None:
    with pytest.raises(KeyFormatError):
        parse_identity(text)


@pytest.mark.parametrize("factor", [-1, 0, 23, 64])
def test_impossible_work_factor_is_refused(factor: int) -> None:
    with pytest.raises(KeyFormatError, match="work factor"):
        ScryptRecipient("open sesame", factor)


def test_empty_passphrase_is_refused() -> None:
    with pytest.raises(KeyFormatError):
        ScryptRecipient("")
    with pytest.raises(KeyFormatError):
        ScryptIdentity("")


def test_key_file_with_comments_blank_lines_and_a_byte_order_mark() -> None:
    first, second = X25519Identity.generate(), HybridIdentity.generate()
    text = (
        f"\ufeff# created: today\r\n# public key: {first.recipient()}\r\n{first.secret_text()}\r\n"
        f"\r\n  # the safe\n   {second.secret_text()}  "
    )
    keys = parse_identity_file(text)
    assert [key.secret_text() for key in keys] == [first.secret_text(), second.secret_text()]


def test_bad_line_of_a_key_file_is_named_by_number_alone() -> None:
    good, bad = X25519Identity.generate().secret_text(), X25519Identity.generate().secret_text()[:-2]
    with pytest.raises(KeyFormatError, match="line 4 of the key file") as caught:
        parse_identity_file(f"# keys\n{good}\n\n{bad}\n")
    assert bad[20:30] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# only a comment\n\n"])
def test_key_file_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(KeyFormatError, match="no secret key"):
        parse_identity_file(text)
