"""Every rule of the posture, as people read it."""

from __future__ import annotations

from tasks.policy.posture_rules import RULES
from tests.golden.goldens import same_as_golden


def test_the_text_of_all_rules() -> None:
    lines = [
        f"{rule.id} ({'must' if rule.must else 'should'})\n"
        f"  {rule.demands}\n  {rule.reason}\n  → {rule.how}\n"
        for rule in RULES
    ]
    same_as_golden("posture/rules.txt", "\n".join(lines).encode("utf-8"))
