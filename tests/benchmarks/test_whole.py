"""The benchmark of whole runs works: small, its figures sane, whatever they are.

Our own command is stood in for by a look at the office's source: whole runs have tests of their own. What is
tried is all else: the offices, the scripts of the other programs, the table and the JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests.benchmarks import whole
from tests.flows.site import Site


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that would have been run."""
    asked: list[tuple[str, ...]] = []

    def look(site: Site, *arguments: str) -> whole.Cost:
        site.context.source().check()
        asked.append(arguments)
        return whole.Cost(2.0, 1.0, 100 << 20)

    monkeypatch.setattr(whole, "run_command", look)
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("row", list(whole.ROWS))
def test_a_small_run_gives_sane_figures(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], looked_at: list[tuple[str, ...]]
) -> None:
    figures = tmp_path / "figures" / "whole.json"
    scratch = ["--folder", str(tmp_path), "--json", str(figures), "--no-server"]
    whole.main([row, "--size", "2M", "--rounds", "1", *scratch])
    printed = capsys.readouterr().out
    told = json.loads(figures.read_text("utf-8"))
    assert list(told["rows"]) == [row]
    measured = told["rows"][row]
    assert (measured["seconds"], measured["processor"]) == (2.0, 1.0)
    for peer, cost in measured["peers"].items():
        assert cost["seconds"] > 0
        assert cost["ratio"] == pytest.approx(2.0 / cost["seconds"])
        assert f"    {peer}" in printed
    if not measured["peers"] and not measured["not installed"]:
        assert measured["goal seconds"] > 0
    assert looked_at


def test_a_size_is_written_with_its_unit() -> None:
    assert [whole.size_of(text) for text in ("50M", "1G")] == [50 << 20, 1 << 30]
    with pytest.raises(argparse.ArgumentTypeError):
        whole.size_of("50")


def test_a_script_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="failed with 3:\nthe cause"):
        whole.measured(["sh", "-c", "echo the cause; exit 3"], {}, tmp_path)
