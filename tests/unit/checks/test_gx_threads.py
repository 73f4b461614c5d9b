"""Great Expectations under two threads, from its import on: two sources are judged at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from threading import Barrier, Thread
from tasks.checks.judge import judge_tables
from tasks.records import Profile, TableProfile

same = Profile(tables=(TableProfile(name="patients", rows=3, fingerprint="3:a"),))
start, outcomes = Barrier(4), []

def judge():
    start.wait()
    try:
        outcomes.append(all(finding.passed for finding in judge_tables(same, same)))
    except Exception as error:
        outcomes.append(repr(error))

threads = [Thread(target=judge) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert outcomes == [True] * 4, outcomes

import sys
assert not {"altair", "scipy.stats"} & set(sys.modules), "imported, and never used"
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as user
assert user.stats.entropy([1, 1], [1, 1]) == 0 and user.alt.Chart, "there as soon as they are used"
import altair
assert altair.Chart is user.alt.Chart
"""


def test_first_use_by_several_threads_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
