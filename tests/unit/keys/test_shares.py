"""A key in shares: enough of them give it back, fewer don't, and what is wrong with one is said."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.age.keys import HybridIdentity, X25519Identity, key_pairs_of, secret_bytes
from tasks.errors import ShareError
from tasks.keys.shares import Share, fingerprint, join, parse_share, share_text, split

SECRET = bytes(range(32))
RECIPIENT = str(X25519Identity(SECRET).recipient())


def three(secret: bytes = SECRET) -> list[Share]:
    return split(secret, "Owner", RECIPIENT, 3, 2)


def named(shares: list[Share]) -> list[tuple[str, Share]]:
    return [(f"share {share.number}", share) for share in shares]


@settings(max_examples=40)
@given(
    secret=st.binary(min_size=32, max_size=32),
    numbers=st.integers(2, 5).flatmap(lambda total: st.tuples(st.just(total), st.integers(2, total))),
    seed=st.integers(),
    on_paper=st.booleans(),
)
def test_any_so_many_shares_give_the_secret_back(
    secret: bytes, numbers: tuple[int, int], seed: int, on_paper: bool
) -> None:
    total, needed = numbers
    texts = [
        share_text(share, on_paper=on_paper) for share in split(secret, "Owner", RECIPIENT, total, needed)
    ]
    chosen = random.Random(seed).sample(texts, needed)
    shares = [parse_share(text, "a share") for text in chosen]
    assert join(named(shares)) == secret
    assert {share.fingerprint for share in shares} == {fingerprint(RECIPIENT)}
    assert {share.holder for share in shares} == {"Owner"}


@settings(max_examples=20)
@given(secret=st.binary(min_size=32, max_size=32))
def test_a_key_is_its_32_bytes(secret: bytes) -> None:
    """What goes into the shares is the very secret of the key, for both kinds of key."""
    for kind, identity in zip((X25519Identity, HybridIdentity), key_pairs_of(secret), strict=True):
        assert isinstance(identity, kind)
        assert secret_bytes(identity) == secret
        again = key_pairs_of(secret_bytes(identity))
        assert identity.recipient() in [other.recipient() for other in again]


def test_every_pair_of_three_does_and_no_single_one() -> None:
    shares = three()
    for pair in itertools.combinations(shares, 2):
        assert join(named(list(pair))) == SECRET
    assert join(named(shares)) == SECRET
    for share in shares:
        with pytest.raises(ShareError, match="2 shares are needed, there is 1"):
            join(named([share]))


def test_one_share_says_nothing_of_the_secret() -> None:
    """Shares of the same secret have nothing in common but the set's number: each is random by itself."""
    first, second = split(SECRET, "Owner", RECIPIENT, 3, 2)[0], split(SECRET, "Owner", RECIPIENT, 3, 2)[0]
    assert first.words[4:-3] != second.words[4:-3]


def test_shares_of_different_sets_are_told_apart() -> None:
    with pytest.raises(ShareError, match="different sets"):
        join([("a.txt", three()[0]), ("b.txt", three()[1])])


def test_the_same_share_twice_is_one() -> None:
    share = three()[0]
    with pytest.raises(ShareError, match=r"b\.txt and a\.txt are the same share"):
        join([("a.txt", share), ("b.txt", share)])


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda words: ["zzzz", *words[1:]], "word 1 of the share is not a word"),
        (
            lambda words: [*words[:9], "academic" if words[9] != "academic" else "acid", *words[10:]],
            "fit together",
        ),
        (lambda words: [words[1], words[0], *words[2:]] if words[0] != words[1] else words, "fit together"),
        (lambda words: words[:-1], "has 32 words, a share has 33"),
        (lambda words: [*words, words[0]], "has 34 words, a share has 33"),
        (lambda _: [], "has 0 words"),
    ],
    ids=["no word", "another word", "exchanged", "one missing", "one too many", "empty"],
)
def test_a_mistyped_share_is_refused_without_being_quoted(damage, cause: str) -> None:  # type: ignore[no-untyped-def]
    words = list(three()[0].words)
    with pytest.raises(ShareError, match=cause) as caught:
        parse_share(" ".join(damage(words)), "the share")
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert not set(words) & set(str(caught.value).split()) - {"words", "share", "list"}


def test_typed_in_by_hand_it_is_the_same() -> None:
    share = three()[0]
    typed = "\r\n".join(word.upper() for word in share.words)
    assert (
        parse_share(f"\ufeff#fingerprint:  {share.fingerprint.lower()}\r\n{typed}", "x").words == share.words
    )
    assert (
        parse_share(f"# fingerprint: {share.fingerprint.lower()}\n{typed}", "x").fingerprint
        == share.fingerprint
    )


@pytest.mark.parametrize(("total", "needed"), [(3, 1), (3, 4), (17, 2), (1, 1), (0, 0)])
def test_impossible_numbers_are_refused(total: int, needed: int) -> None:
    with pytest.raises(ShareError, match="cannot make"):
        split(SECRET, "Owner", RECIPIENT, total, needed)
