"""What retention decides about a shelf: the rules, this machine's memory, holds and promises together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tasks.backup.due_targets import day_of
from tasks.backup.holds import holds
from tasks.backup.memory import memory_doubt
from tasks.backup.promises import promised_before
from tasks.context import PlanContext
from tasks.health.trend import anomaly
from tasks.policy.retention import judge_retention, keeping_promises, suspended
from tasks.records import BackupEntry, Verdict


def judged(
    context: PlanContext, target_name: str, source_name: str, shelf: Sequence[BackupEntry]
) -> tuple[tuple[Verdict, ...], str]:
    """What retention decides about that shelf of a target; why pruning is suspended, if it is."""
    entry = context.entry(target_name)
    now = datetime.now(UTC)
    found = anomaly_of(context, source_name)
    held = {n: hold.words for n, hold in holds(context, source_name, day_of(context, now)).items()}
    found_so = judge_retention(shelf, entry.keep, entry.floor, context.timezone, now, found, held)
    kept = keeping_promises(found_so, promised_before(context, target_name), context.plan.signers)
    return kept, suspended(shelf, now, found) or _waiting(kept)


def anomaly_of(context: PlanContext, source_name: str) -> str:
    """What keeps this machine from removing anything, whatever a shelf looks like; "" where nothing does."""
    return memory_doubt(context) or anomaly(context, source_name)


def _waiting(judged: Sequence[Verdict]) -> str:
    numbers = [v.backup.manifest.sequence for v in judged if v.waiting and v.backup.manifest]
    if not numbers:
        return ""
    listed = ", ".join(f"#{number}" for number in numbers)
    return (
        f"the plan was changed and would let {listed} go, which it kept before: they stay until someone says "
        "that this was meant (`datasave prune --accept-change`)"
    )
