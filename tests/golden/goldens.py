"""Comparing with files that lie beside the tests.

To write them anew: ``DATASAVE_REGENERATE_GOLDEN=1 pytest tests/golden``. Each test that rewrote its file
fails and says so; read the difference in version control, then run again without the variable.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def same_as_golden(name: str, found: bytes) -> None:
    """Fail unless ``found`` is, byte for byte, the golden file ``name`` (relative to tests/golden)."""
    path = FOLDER / name
    if os.environ.get("DATASAVE_REGENERATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found)
        pytest.fail(f"{name} was rewritten: read the difference, then run without the variable")
    assert found.decode("utf-8") == path.read_bytes().decode("utf-8")
