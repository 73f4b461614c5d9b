"""How long a copy takes to become a sealed archive, beside zstd, age, restic and borg.

    python -m tests.benchmarks.seal [--size 1G] [--rounds 3] [--folder SCRATCH]

Every contender runs as a process of its own, all in turn in every round, each round beginning with the next
one. The input is read into the cache before each, and what the one before wrote is flushed to the disk. Wall
time, processor time and peak memory are those the system reports; medians of the rounds. Ours writes the
archive and the sealed file with their sha256, both flushed to the disk, as a backup does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.age.file import encrypt
from tasks.age.keys import X25519Identity, parse_recipient
from tasks.archive.writer import write_archive
from tasks.platform.files import BLOCK, HashingWriter, atomic_writer

UNITS = {"M": 1 << 20, "G": 1 << 30}
PASSWORDS = {"RESTIC_PASSWORD": "benchmark", "BORG_PASSPHRASE": "benchmark"}


@dataclass(frozen=True)
class Cost:
    """What one run took; ``peak`` is the largest process's resident set in bytes."""

    seconds: float
    processor: float
    peak: int
    output: int


@dataclass(frozen=True)
class SealBench:
    """The scratch folder: the database lies in copy/clinic.db, outputs in out/."""

    folder: Path
    recipient: str

    @property
    def database(self) -> Path:
        return self.folder / "copy" / "clinic.db"

    @property
    def out(self) -> Path:
        return self.folder / "out"


@dataclass(frozen=True)
class Contender:
    """``prepare`` is not timed, ``command`` is. ``needs`` are programs that may not be installed."""

    name: str
    needs: tuple[str, ...]
    command: Callable[[SealBench], Sequence[str]]
    prepare: Callable[[SealBench], Sequence[str]] | None = None

    def missing(self) -> list[str]:
        return [program for program in self.needs if shutil.which(program) is None]


def _ours(bench: SealBench) -> Sequence[str]:
    module = [sys.executable, "-m", "tests.benchmarks.seal", "--ours", bench.recipient]
    return [*module, "--folder", str(bench.folder)]


def _shell(text: str, *arguments: str) -> Sequence[str]:
    return ["bash", "-c", f"set -eo pipefail; {text}", "bash", *arguments]


OURS = Contender("datasave", (), _ours)
ZSTD = Contender(
    "zstd -3 -T2",
    ("zstd",),
    lambda b: ["zstd", "-q", "-3", "-T2", str(b.database), "-o", str(b.out / "zstd.zst")],
)
PIPE = Contender(
    "tar | zstd -3 -T2 | age",
    ("tar", "zstd", "age"),
    lambda b: _shell(
        'tar -c -C "$1" . | zstd -q -3 -T2 | age -r "$2" -o "$3"',
        str(b.database.parent),
        b.recipient,
        str(b.out / "pipe.age"),
    ),
)
RESTIC = Contender(
    "restic backup",
    ("restic",),
    lambda b: [*_restic(b), "backup", "--no-cache", str(b.database.parent)],
    lambda b: [*_restic(b), "init"],
)
BORG = Contender(
    "borg create (zstd,3)",
    ("borg",),
    lambda b: ["borg", "create", "-C", "zstd,3", f"{b.out / 'borg'}::one", str(b.database.parent)],
    lambda b: ["borg", "--error", "init", "-e", "repokey-blake2", str(b.out / "borg")],
)
CONTENDERS = (OURS, ZSTD, PIPE, RESTIC, BORG)


def _restic(bench: SealBench) -> list[str]:
    return ["restic", "-q", "-r", str(bench.out / "restic")]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", default="1G", help="size of the database, such as 512M or 4G")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="scratch; three times the size is needed")
    parser.add_argument("--ours", metavar="RECIPIENT", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(seal(options.folder, options.ours)))
        return
    size = int(options.size[:-1]) * UNITS[options.size[-1]]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="seal-") as scratch:
        compare(Path(scratch), size, options.rounds)


def seal(folder: Path, recipient: str) -> dict[str, float]:
    """Our part, in a process of its own; seconds of its two steps."""
    began = time.monotonic()
    archive, sealed = folder / "out" / "ours.tar.zst", folder / "out" / "ours.tar.zst.age"
    with atomic_writer(archive) as stream:
        writer = HashingWriter(stream)
        write_archive(folder / "copy", writer.stream)
        writer.hexdigest()
    middle = time.monotonic()
    with archive.open("rb", buffering=0) as plain, atomic_writer(sealed) as stream:
        writer = HashingWriter(stream)
        encrypt(plain, writer.stream, [parse_recipient(recipient)])
        writer.hexdigest()
    archive.unlink()
    return {"archive": middle - began, "encrypt": time.monotonic() - middle}


def compare(scratch: Path, size: int, rounds: int) -> None:
    """Make the input, run everybody in turn, print the table."""
    identity = X25519Identity.generate()
    bench = SealBench(scratch, str(identity.recipient()))
    bench.database.parent.mkdir()
    # In a process of its own: its memory would count for the peak of every process started later.
    maker = [sys.executable, "-m", "tests.benchmarks.database", str(bench.database), str(size)]
    subprocess.run(maker, check=True)
    running = [contender for contender in CONTENDERS if not contender.missing()]
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in running}
    steps: list[dict[str, float]] = []
    for number in range(rounds):
        turn = number % len(running)
        for contender in running[turn:] + running[:turn]:
            cost, printed = run(bench, contender)
            costs[contender.name].append(cost)
            if contender is OURS:
                steps.append(json.loads(printed))
                if number == 0:
                    prove(bench, identity)
    load = ", ".join(f"{minutes:.1f}" for minutes in os.getloadavg())
    print(f"load average over 1, 5, 15 minutes, our own included: {load}")
    report(size, {name: median(all_) for name, all_ in costs.items()}, rounds)
    for step in ("archive", "encrypt"):
        print(f"datasave, {step}: {statistics.median(one[step] for one in steps):.2f} s")


def run(bench: SealBench, contender: Contender) -> tuple[Cost, str]:
    """Run one contender once, in an empty out/ folder, on a warm input; its cost and what it printed."""
    shutil.rmtree(bench.out, ignore_errors=True)
    bench.out.mkdir()
    environment = {**os.environ, **PASSWORDS, "HOME": str(bench.out), "BORG_BASE_DIR": str(bench.out)}
    if contender.prepare:
        subprocess.run(contender.prepare(bench), env=environment, check=True, stdout=subprocess.DEVNULL)
    before = _size(bench.out)
    _warm(bench.database)
    os.sync()
    began = time.monotonic()
    with subprocess.Popen(contender.command(bench), env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        printed = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{contender.name} failed with {process.returncode}")
    processor = usage.ru_utime + usage.ru_stime
    return Cost(seconds, processor, usage.ru_maxrss * 1024, _size(bench.out) - before), printed


def prove(bench: SealBench, identity: X25519Identity) -> None:
    """What was measured is a backup: stock programs bring back the same bytes."""
    key = bench.folder / "key"
    key.write_text(identity.secret_text() + "\n")
    command = 'age -d -i "$1" "$2" | zstd -dc | tar -xO clinic.db | cmp - "$3"'
    sealed = str(bench.out / "ours.tar.zst.age")
    subprocess.run(_shell(command, str(key), sealed, str(bench.database)), check=True)
    key.unlink()


def median(costs: list[Cost]) -> Cost:
    """The median of each figure, the highest of the memory peaks."""
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.processor for cost in costs),
        max(cost.peak for cost in costs),
        costs[-1].output,
    )


def report(size: int, costs: dict[str, Cost], rounds: int) -> None:
    """Print the table."""
    print(f"{size / (1 << 30):g} GiB, median of {rounds} rounds, input in the cache, {os.cpu_count()} cores")
    columns = ("seconds", "cpu s", "MB/s", "x zstd", "x restic", "peak MB", "output MB")
    print(f"{'':24}" + "".join(f"{column:>11}" for column in columns))
    for contender in CONTENDERS:
        cost = costs.get(contender.name)
        if cost is None:
            print(f"{contender.name:24} not installed: {', '.join(contender.missing())}")
            continue
        figures = (
            f"{cost.seconds:.2f}",
            f"{cost.processor:.2f}",
            f"{size / 1e6 / cost.seconds:.0f}",
            _ratio(cost, costs.get(ZSTD.name)),
            _ratio(cost, costs.get(RESTIC.name)),
            f"{cost.peak / 1e6:.0f}",
            f"{cost.output / 1e6:.0f}",
        )
        print(f"{contender.name:24}" + "".join(f"{figure:>11}" for figure in figures))


def _ratio(cost: Cost, other: Cost | None) -> str:
    return f"{cost.seconds / other.seconds:.2f}" if other else "-"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _warm(path: Path) -> None:
    with path.open("rb", buffering=0) as stream:
        while stream.read(BLOCK):
            pass


if __name__ == "__main__":
    main()
