"""How long one sealed archive takes to four targets at the same time, beside each of them alone.

    python -m tests.benchmarks.fanout [--megabytes 64] [--rounds 3] [--unlimited]

A folder, a drive (an ext4 image), OpenSSH's SFTP and Ceph's radosgw, all real and on this machine. Each has a
bandwidth of its own, by the plan's option, as lines and disks of an office have: without that (--unlimited)
all four share the same processors and one disk, and what is measured is those. Sent and read back as a
backup does, in one thread a target; needs root. Medians of the rounds; alone and together take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tasks.platform.files import BLOCK, HashingReader
from tasks.targets.base import Target
from tasks.targets.capabilities import verify
from tasks.targets.drive.target import DriveOptions, DriveTarget
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.s3.options import S3Options
from tasks.targets.s3.target import S3Target
from tasks.targets.shared.media import init_medium
from tests.faults.media import CALENDAR
from tests.mounts import ext4
from tests.servers.radosgw import radosgw
from tests.servers.sshd import sshd_server

NAME = "clinic-20261123T020000Z-000417.tar.zst.age"
LIMITS = {"folder": "40 MB/s", "drive": "20 MB/s", "sftp": "10 MB/s", "s3": "5 MB/s"}
Made = dict[str, Callable[[], Target]]


@contextmanager
def places(root: Path, megabytes: int, limits: dict[str, str | None]) -> Iterator[Made]:
    """What makes the target of each kind, ready to be sent to."""
    with ExitStack() as stack:
        server = stack.enter_context(radosgw(root / "s3"))
        ssh = stack.enter_context(sshd_server())
        drive = stack.enter_context(ext4(root / "media", 2 * megabytes + 64))
        init_medium(drive.path, "MON", "drives", "office")
        os.environ["BENCHMARK_S3"] = server.admin.secret
        cloud = {
            "bucket": server.bucket(),
            "endpoint": server.endpoint,
            "access_key_id": server.admin.access,
            "secret_access_key": "env:BENCHMARK_S3",
            "bandwidth": limits["s3"],
        }
        removable = {"calendar": CALENDAR, "mounts": [str(drive.path)], "bandwidth": limits["drive"]}
        vault = ssh.place("vault")
        folder = FolderOptions(path=root / "nas", bandwidth=limits["folder"])
        made: Made = {
            "folder": lambda: FolderTarget("folder", folder),
            "drive": lambda: DriveTarget("drives", DriveOptions.model_validate(removable)),
            "sftp": lambda: ssh.target(vault, "sftp", bandwidth=limits["sftp"]),
            "s3": lambda: S3Target("s3", S3Options.model_validate(cloud)),
        }
        for kind in ("folder", "sftp"):
            with made[kind]() as target:
                target.prepare()
        yield made


def send(sealed: Path, digest: str, make: Callable[[], Target]) -> float:
    """Put, read back, compare; the seconds that took. What was there goes first, and is not timed."""
    size = sealed.stat().st_size
    with make() as target:
        for stat in target.list():
            target.delete(stat.name)
        began = time.monotonic()
        with sealed.open("rb", buffering=0) as stream:
            target.put(NAME, HashingReader(stream).stream, size)
        with sealed.open("rb", buffering=0) as local:
            assert verify(target, NAME, size, digest, local=local), f"{target.name} damaged it"
        return time.monotonic() - began


def together(sealed: Path, digest: str, made: Made) -> float:
    """To all of them at once: until the last one is done."""
    for make in made.values():
        with make() as target:
            for stat in target.list():
                target.delete(stat.name)
    began = time.monotonic()
    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(partial(send, sealed, digest), made.values()))
    return time.monotonic() - began


def measure(sealed: Path, digest: str, made: Made, rounds: int) -> dict[str, float]:
    """Medians: of each alone, and "together"."""
    taken: dict[str, list[float]] = {kind: [] for kind in [*made, "together"]}
    for _ in range(rounds):
        for kind, make in made.items():
            taken[kind].append(send(sealed, digest, make))
        taken["together"].append(together(sealed, digest, made))
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def sealed_file(path: Path, megabytes: int) -> str:
    """Random bytes, as ciphertext is; their sha256."""
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for _ in range(megabytes):
            block = os.urandom(BLOCK)
            stream.write(block)
            digest.update(block)
    return digest.hexdigest()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time of a fan-out to four targets.")
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unlimited", action="store_true", help="no bandwidth limits: one machine's own")
    chosen = parser.parse_args()
    limits: dict[str, str | None] = {**LIMITS}
    if chosen.unlimited:
        limits = dict.fromkeys(LIMITS)
    with tempfile.TemporaryDirectory(prefix="datasave-fanout-") as folder:
        root = Path(folder)
        digest = sealed_file(root / "sealed", chosen.megabytes)
        with places(root, chosen.megabytes, limits) as made:
            medians = measure(root / "sealed", digest, made, chosen.rounds)
    print(f"{chosen.megabytes} MiB to four targets, sent and read back, median of {chosen.rounds} rounds")
    for kind in LIMITS:
        print(f"  {kind:10}{limits[kind] or 'unlimited':>12}  alone {medians[kind]:7.2f} s")
    slowest = max(medians[kind] for kind in LIMITS)
    total = sum(medians[kind] for kind in LIMITS)
    print(f"  {'together':10}{'':>12}        {medians['together']:7.2f} s")
    ratio, saved = medians["together"] / slowest, medians["together"] / total
    print(f"  {ratio:.2f} of the slowest alone, {saved:.2f} of one after the other")


if __name__ == "__main__":
    main()
