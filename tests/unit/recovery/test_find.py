"""Which backup is brought back; what lies beside it under names that the plan doesn't know."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.context import PlanContext
from tasks.errors import NoBackup
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.signing import sign_record
from tasks.recovery.find import choose, origin_of
from tests.contract.target_contract import put
from tests.unit.health.stocked import archive, office, stated, stock
from tests.unit.manifests.shelves import TAKEN, manifest


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    """A nas with a backup of the fifth night, taken when the plan was called klinik."""
    made = office(tmp_path, "nas")
    facts = {"sealed_bytes": 5000, "sealed_sha256": stated(made, 5).sealed_sha256}
    record = sign_record(manifest(5, TAKEN + timedelta(days=5), source="klinik", **facts), made.machine_key())
    with made.target("nas") as place:
        put(place, record.sealed_name, archive(5))
        put(place, manifest_name(record.sealed_name.removesuffix(".tar.zst.age")), to_json(record))
    return made


def test_b5_a_renamed_plan_is_told_of_the_backups_under_its_old_name(context: PlanContext) -> None:
    with (
        context.target("nas") as place,
        pytest.raises(NoBackup, match="no backups of clinic in nas") as caught,
    ):
        choose(origin_of(context, place, ""), "latest")
    assert "backups of klinik lie there as well, the newest #5 of 2026-11-28" in caught.value.hint
    assert "datasave rescue" in caught.value.hint


@pytest.mark.parametrize(("own", "told"), [(4, True), (6, False)])
def test_b5_it_is_told_too_where_they_are_newer_than_its_own(
    context: PlanContext, own: int, told: bool
) -> None:
    stock(context, "nas", own)
    with context.target("nas") as place:
        choice = choose(origin_of(context, place, ""), "latest")
        asked = choose(origin_of(context, place, ""), str(own))
    assert choice.manifest.sequence == own
    assert [warning.startswith("backups of klinik") for warning in choice.warnings] == [True] * told
    assert asked.warnings == (), "whoever names a number knows which one"
