"""Look at the files of a copy from outside: headers, names, a sample of their bytes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.policy.file_signs import (
    BLOCK,
    EXTENSIONS_KEPT,
    HEAD,
    NOTE,
    PACKED,
    RANSOM,
    FileSigns,
    extension_of,
    fits,
    is_noise,
)
from tasks.records import CopiedFile

# A sample: the same files each night, and some two hundred blocks of each large one at the most.
MOST_FILES = 5_000
MOST_BLOCKS = 200


def signs_of(folder: Path, files: Sequence[CopiedFile]) -> FileSigns:
    """The signs of a copy's files; of many a sample spread over all of them is opened."""
    names = [file.path.rpartition("/")[2] for file in files]
    extensions = Counter(extension_of(name) for name in names)
    known = broken = blocks = noise = 0
    sample = files[:: max(1, -(-len(files) // MOST_FILES))]
    each = max(2, MOST_BLOCKS // max(len(sample), 1))
    for file in sample:
        head, read = _sampled(folder / file.path, file.bytes, each)
        fit = fits(head, extension_of(file.path))
        known += fit is not None
        broken += fit is False
        if not head.startswith(PACKED):
            blocks += len(read)
            noise += sum(map(is_noise, read))
    return FileSigns(
        files=len(files),
        known=known,
        broken=broken,
        ransom=sum(bool(RANSOM.search(name)) for name in names),
        notes=sum(bool(NOTE.search(name)) for name in names),
        noise=round(noise / blocks, 4) if blocks else 0.0,
        extensions=dict(extensions.most_common(EXTENSIONS_KEPT)),
    )


def _sampled(path: Path, size: int, most: int) -> tuple[bytes, list[bytes]]:
    """The head of a file and up to ``most`` whole blocks spread over it."""
    with path.open("rb", buffering=0) as stream:
        head = stream.read(HEAD)
        return head, list(_blocks(stream.fileno(), size // BLOCK, most))


def _blocks(descriptor: int, whole: int, most: int) -> Iterator[bytes]:
    for number in range(0, whole, max(1, -(-whole // most))):
        os.lseek(descriptor, number * BLOCK, os.SEEK_SET)
        yield os.read(descriptor, BLOCK)
