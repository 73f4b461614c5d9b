"""A change of the plan that lets go what the plan before kept waits until a person says that it was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.backup.promises import accept_plan
from tasks.backup.retain import prune, verdicts
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.signing import public_text, sign_record
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.backup.shelved import STEM, change_target, left, office, put_backup, taken
from tests.unit.manifests.shelves import SEALED, STRANGER, manifest

ALL = [1, 2, 3, 4, 5]


def waits(site: Site, target: str = "nas") -> None:
    """Nothing goes, it is told by number, and the list says why; accepted, it goes."""
    pruned = prune(site.context, target)
    assert pruned.removed == () and left(site) == ALL
    assert "#1, #2" in pruned.note and "--accept-change" in pruned.note
    judged, _ = verdicts(site.context, target)
    assert any("until the change of the plan is accepted" in verdict.reasons[0] for verdict in judged)
    assert site.run("prune", "--accept-change") == 0
    pruned = prune(site.context, target)
    assert pruned.note == ""
    assert [gone.sequence for gone in pruned.removed][:2] == [1, 2]
    assert left(site) == ALL[len(pruned.removed) :]


def test_a5_a_plan_without_keep_that_gets_slots(tmp_path: Path) -> None:
    """The default of keep is another with slots."""
    site = office(tmp_path)
    assert prune(site.context, "nas").removed == ()
    change_target(site, slots="weekday")
    waits(site)
    assert left(site) == [3, 4, 5], "the floor's"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"keep": {"last": 5}, "floor": 1}, {"keep": {"last": 2}, "floor": 1}),
        ({"keep": {"last": 1}, "floor": 5}, {"keep": {"last": 1}, "floor": 2}),
        ({"keep": "forever"}, {"keep": {"last": 1}}),
        ({"keep": {"daily": 5}, "floor": 1}, {"keep": {"weekly": 5}, "floor": 1}),
    ],
    ids=["keep", "floor", "forever", "rules"],
)
def test_a5_less_is_kept(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    site = office(tmp_path, **before)
    assert prune(site.context, "nas").removed == ()
    change_target(site, **after)
    waits(site)


def test_a5_a_place_under_another_name_keeps_what_was_promised_there(tmp_path: Path) -> None:
    """The entry is another, the folder is the same: its marker was made anew."""
    site = office(tmp_path, keep="forever")
    prune(site.context, "nas")
    change_target(site, "daily", keep={"last": 1}, floor=1)
    (site.root / "nas" / ".datasave-target.json").unlink()
    site.init_target("daily")
    waits(site, "daily")


def test_a5_a_place_under_another_name_and_path_keeps_what_was_promised_there(tmp_path: Path) -> None:
    """A link leads to the folder, and the entry has another name: neither is what stood there before."""
    site = office(tmp_path, keep="forever")
    prune(site.context, "nas")
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    target = {"name": "daily", "kind": "folder", "path": "link", "keep": {"last": 1}, "floor": 1}
    site.change_plan(targets=[target])
    (tmp_path / "nas" / ".datasave-target.json").unlink()
    site.init_target("daily")
    waits(site, "daily")


def test_a5_machines_that_did_not_count_before_take_no_place(tmp_path: Path) -> None:
    """With another machine's key among the signers its backups would push out ours."""
    site = office(tmp_path, keep={"last": 5}, floor=1)
    prune(site.context, "nas")
    with site.context.target("nas") as target:
        for number in (6, 7):
            record = sign_record(manifest(number, taken(number)), STRANGER)
            put(target, record.sealed_name, SEALED)
            put(target, manifest_name(record.sealed_name.removesuffix(STEM)), to_json(record))
    site.change_plan(signers=[public_text(STRANGER.public_key())])
    pruned = prune(site.context, "nas")
    assert pruned.removed == () and "#1, #2" in pruned.note


def test_a_plan_in_between_counts_too(tmp_path: Path) -> None:
    """Each plan that ran has kept something; going back is a change like any other."""
    site = office(tmp_path, keep={"last": 2}, floor=1, count=2)
    prune(site.context, "nas")
    change_target(site, keep={"last": 5}, floor=1)
    with site.context.target("nas") as target:
        for number in (3, 4, 5):
            put_backup(site.context, target, number)
    assert prune(site.context, "nas").removed == ()
    change_target(site, keep={"last": 2}, floor=1)
    waits(site)


def test_what_no_plan_kept_goes_while_the_rest_waits(tmp_path: Path) -> None:
    site = office(tmp_path, keep={"last": 5}, floor=1)
    prune(site.context, "nas")
    change_target(site, keep={"last": 4}, floor=1)
    with site.context.target("nas") as target:
        put_backup(site.context, target, 6)
    pruned = prune(site.context, "nas")
    assert [gone.sequence for gone in pruned.removed] == [1]
    assert "#2" in pruned.note


@pytest.mark.parametrize(
    "after", [{"keep": {"last": 9}, "floor": 1}, {"keep": {"last": 5}, "floor": 4}, {"keep": "forever"}]
)
def test_a_plan_that_keeps_more_needs_nobody(tmp_path: Path, after: dict[str, Any]) -> None:
    site = office(tmp_path, keep={"last": 5}, floor=1)
    prune(site.context, "nas")
    change_target(site, **after)
    pruned = prune(site.context, "nas")
    assert (pruned.removed, pruned.note) == ((), "")


def test_there_is_nothing_to_accept_in_a_plan_that_stayed(tmp_path: Path) -> None:
    site = office(tmp_path, keep={"last": 2}, floor=1)
    assert len(prune(site.context, "nas").removed) == 3
    assert accept_plan(site.context) == ()
    assert len(site.context.journal.entries("plan")) == 1
