from __future__ import annotations

import argparse
from pathlib import Path


def scratch_folder(text: str) -> Path:
    """The folder that an option names, for argparse: it must be there."""
    folder = Path(text).absolute()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}; make it first")
    return folder
