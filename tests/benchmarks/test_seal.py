"""The benchmark of sealing works: small, and beside the contenders that begin at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import seal

SETS = ["noise", "letters"]
QUICK = (seal.OURS, seal.ZSTD, seal.PIPE)


@pytest.mark.slow
@pytest.mark.skipif(not seal.PEAK.exists(), reason="peak memory is read from Linux's /proc")
def test_sets_are_sealed_proven_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seal, "CONTENDERS", QUICK)
    figures = tmp_path / "figures" / "seal.json"
    seal.main([*SETS, "--megabytes", "4", "--rounds", "1", "--folder", str(tmp_path), "--json", str(figures)])
    printed = capsys.readouterr().out
    sets = json.loads(figures.read_text("utf-8"))["sets"]
    assert list(sets) == SETS
    for name, measured in sets.items():
        assert f"\n{name}: " in printed
        rows = measured["contenders"]
        assert list(rows) == [one.name for one in QUICK if not one.missing()]
        assert all(row["seconds"] > 0 and row["output"] > measured["bytes"] / 8 for row in rows.values())
