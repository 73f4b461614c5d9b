"""Whose turn it is to be drilled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.policy.drill_turns import NEVER, DrillTarget, Pair, Proof, newest, next_pair, proved

NOW = datetime(2026, 11, 29, 6, tzinfo=UTC)
DAY = timedelta(days=1)
HOLDERS = ("Owner", "Bank safe")


def places(*names: str) -> list[DrillTarget]:
    return [DrillTarget(name) for name in names]


def run(
    where: list[DrillTarget], holders: tuple[str, ...], times: int, failing: str = "", cold_days: int = 365
) -> list[Pair | None]:
    """A drill a week, each noted as it ended."""
    proofs: list[Proof] = []
    chosen: list[Pair | None] = []
    for week in range(times):
        now = NOW + 7 * DAY * week
        pair = next_pair(where, holders, proofs, now, cold_days)
        chosen.append(pair)
        if pair:
            proofs.append(Proof(*pair, now, pair.target != failing))
    return chosen


def test_targets_and_keys_take_turns_together() -> None:
    assert run(places("nas", "disk"), HOLDERS, 5) == [
        ("nas", "Owner"),
        ("disk", "Bank safe"),
        ("nas", "Bank safe"),
        ("disk", "Owner"),
        ("nas", "Owner"),
    ]


def test_what_is_away_waits_and_comes_first_when_it_is_back() -> None:
    nas, drive = DrillTarget("nas"), DrillTarget("drive", away=True)
    proofs = [Proof("nas", "Owner", NOW - DAY, True)]
    assert next_pair([nas, drive], ["Owner"], proofs, NOW, 365) == ("nas", "Owner")
    assert next_pair([nas, drive._replace(away=False)], ["Owner"], proofs, NOW, 365) == ("drive", "Owner")
    assert next_pair([drive], ["Owner"], [], NOW, 365) is None


def test_cold_storage_is_woken_seldom() -> None:
    where = [DrillTarget("vault", cold=True), DrillTarget("nas")]
    year = run(where, ("Owner",), 60, cold_days=180)
    weeks = [week for week, pair in enumerate(year) if pair and pair.target == "vault"]
    assert weeks == [0, 26, 52]
    assert run(where[:1], ("Owner",), 3) == [("vault", "Owner"), None, None]


def test_a_target_that_fails_keeps_no_other_from_its_turn() -> None:
    chosen = run(places("bad", "nas"), HOLDERS, 8, failing="bad")
    assert [pair.target for pair in chosen if pair].count("nas") == 4


def test_only_success_proves() -> None:
    failed, passed = Proof("nas", "Owner", NOW, False), Proof("nas", "Owner", NOW - DAY, True)
    assert proved([failed]) == NEVER
    assert proved([failed, passed]) == NOW - DAY
    assert newest([failed, passed]) == failed
    assert newest([]) is None


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_every_target_and_key_is_proved_in_time(targets: int, holders: int, data: st.DataObject) -> None:
    where = places(*(f"t{n}" for n in range(targets)))
    keys = tuple(f"h{n}" for n in range(holders))
    weeks = data.draw(st.integers(targets * holders, 3 * targets * holders))
    chosen = [pair for pair in run(where, keys, weeks) if pair]
    assert set(chosen[: targets * holders]) == {Pair(t.target, h) for t in where for h in keys}
    for place in where:
        turns = [week for week, pair in enumerate(chosen) if pair.target == place.target]
        gaps = [later - sooner for sooner, later in pairwise(turns)]
        assert max(gaps, default=0) <= 2 * targets


@given(
    st.lists(
        st.builds(
            Proof,
            st.sampled_from(["a", "b"]),
            st.sampled_from(HOLDERS),
            st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 1)).map(lambda t: t.replace(tzinfo=UTC)),
            st.booleans(),
        )
    )
)
def test_the_pair_tried_longest_ago_is_next(proofs: list[Proof]) -> None:
    chosen = next_pair(places("a", "b"), HOLDERS, proofs, NOW, 365)
    assert chosen

    def tried(pair: Pair) -> datetime:
        return max((p.drilled for p in proofs if (p.target, p.holder) == pair), default=NEVER)

    assert tried(chosen) == min(tried(Pair(t, h)) for t in "ab" for h in HOLDERS)
