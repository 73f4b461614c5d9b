"""All that this project promises of its speed, in one run: a table with goals, and the figures as JSON.

python -m tests.benchmarks [--size 1G] [--rounds 3] [--folder SCRATCH] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import scratch_folder, seal, whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the sealing pass and all rows of whole runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=whole.size_of, default=1 << 30, help="of a set: 50M, 1G")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=scratch_folder, help="scratch; eight times the size is needed")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    options = parser.parse_args(arguments)
    shared = ["--rounds", str(options.rounds)]
    shared += ["--folder", str(options.folder)] if options.folder else []
    megabytes = options.size // seal.MEGABYTE
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, measure, words in (
            ("seal", seal.main, ["--megabytes", str(megabytes)]),
            ("whole", whole.main, ["--size", f"{megabytes}M"]),
        ):
            told = Path(folder) / name
            measure([*words, *shared, "--json", str(told)])
            figures[name] = json.loads(told.read_text("utf-8"))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
