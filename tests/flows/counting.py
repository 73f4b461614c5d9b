"""``datasave`` that counts how often the body of each step of a backup really runs.

Usage: ``python -m tests.flows.counting LOG COMMAND …``: runs the command line; LOG gets a line for each.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployments.cli import app as cli
from deployments.serving.environment import prepare

STEPS = {
    "preflight": ("preflight",),
    "copy": ("live_copy",),
    "validate": ("validate_copy",),
    "seal": ("archive_and_encrypt",),
    "deliver": ("deliver", "read_back"),
}


def counted(log: Path) -> Counter[str]:
    """How often each step ran, by what was written to ``log``."""
    return Counter(log.read_text("utf-8").split()) if log.exists() else Counter()


def _counting(name: str, real: Callable[..., Any], log: Path) -> Callable[..., Any]:
    def step(*arguments: Any, **options: Any) -> Any:
        with log.open("a", encoding="utf-8") as lines:
            lines.write(f"{name}\n")
        return real(*arguments, **options)

    return step


def main() -> None:
    log = Path(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    # As in the program itself: Prefect's settings stand before Prefect is imported.
    prepare(Path(sys.argv[sys.argv.index("--plan") + 1]))
    from tasks.backup import copy, deliver, preflight, seal, validate

    for module in (preflight, copy, validate, seal, deliver):
        for name in STEPS[module.__name__.rpartition(".")[2]]:
            setattr(module, name, _counting(name, getattr(module, name), log))
    cli.entry()


if __name__ == "__main__":
    main()
