"""Which certificates of drills count: those that a machine signed which this plan trusts, and no others."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tasks.context import PlanContext
from tasks.health.drills import drillbook, kept, look
from tasks.manifests.manifest import certificate_name, to_json
from tasks.manifests.signing import sign_record
from tasks.records import Certificate
from tests.flows.site import Site
from tests.unit.manifests.shelves import STRANGER, certificate


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    return Site.make(tmp_path, ["nas"]).context


def name_of(record: Certificate) -> str:
    return certificate_name(record.sealed_name, record.drilled)


def put_in_state(context: PlanContext, record: Certificate) -> None:
    """As an older version kept them, and anybody can who may write there."""
    path = context.state / "drills" / record.target / name_of(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(record))


def test_a_signed_certificate_in_the_state_folder_counts(context: PlanContext) -> None:
    put_in_state(context, sign_record(certificate(), context.machine_key()))
    assert [record.sequence for record in kept(context)] == [417]
    assert drillbook(context).certificates == kept(context)


@pytest.mark.parametrize("forged", ["unsigned", "altered", "a stranger's", "another plan's"])
def test_what_no_trusted_machine_signed_does_not_count(context: PlanContext, forged: str) -> None:
    signed = sign_record(certificate(passed=False), context.machine_key())
    record = {
        "unsigned": certificate(),
        "altered": signed.model_copy(update={"passed": True}),
        "a stranger's": sign_record(certificate(), STRANGER),
        "another plan's": sign_record(certificate(source="other"), context.machine_key()),
    }[forged]
    put_in_state(context, record)
    assert kept(context) == ()
    assert not drillbook(context).good


@pytest.mark.parametrize("signed", [True, False])
def test_of_those_on_a_target_the_signed_are_kept(context: PlanContext, signed: bool) -> None:
    record = sign_record(certificate(), context.machine_key()) if signed else certificate()
    data = to_json(record)
    with context.target("nas") as nas:
        nas.put(f"MON/{name_of(record)}", io.BytesIO(data), len(data))
        assert look(context, nas).certificates == ((record,) if signed else ())
        assert kept(context) == ((record,) if signed else ())
        assert look(context, nas).certificates == kept(context)
    assert len(context.journal.entries("drill")) == signed, "each is kept once"
