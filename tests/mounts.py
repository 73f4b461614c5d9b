"""Real file systems for tests: tmpfs, ext4, exFAT and NTFS images, mounted for as long as a block runs.

They need root on Linux with mount, losetup, e2fsprogs, exfatprogs, exfat-fuse and ntfs-3g. Where one is
missing the test fails in CI and on a root account; elsewhere it is skipped with the reason in the summary.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import pytest

_EXT4_IOC_SHUTDOWN = 0x8004587D
_WITHOUT_LOG_FLUSH = 2

Kind = Literal["ext4", "exfat", "ntfs"]
_TOOLS = {
    "ext4": ["mkfs.ext4"],
    "exfat": ["mkfs.exfat", "mount.exfat-fuse"],
    "ntfs": ["mkntfs", "ntfs-3g"],
}
_FORMAT = {
    "ext4": ["mkfs.ext4", "-q"],
    "exfat": ["mkfs.exfat"],
    "ntfs": ["mkntfs", "--quick", "--force", "--quiet"],
}
_DRIVER = {
    # -d keeps the driver in the foreground, at the price of a line for every call.
    "exfat": ["mount.exfat-fuse", "-d"],
    "ntfs": ["ntfs-3g", "-o", "no_detach"],
}


@dataclass
class Mounted:
    """A mounted file system.

    ``below`` is the file or device that holds its bytes, read and written past its cache.
    ``driver`` is the process that serves it, where it is no part of the kernel.
    """

    path: Path
    below: Path
    driver: subprocess.Popen[bytes] | None = None


def need(*programs: str) -> None:
    """Fail (in CI or as root) or skip where file systems cannot be mounted."""
    reason = ""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        reason = "mounting file systems needs root on Linux"
    missing = [program for program in programs if shutil.which(program) is None]
    if not reason and missing:
        reason = f"not installed: {', '.join(missing)}"
    if not reason:
        return
    if os.environ.get("CI") or missing:
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str | Path) -> str:
    """Run a system tool and return its output; a failure shows what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def unmount_lazily(path: Path) -> None:
    """Detach a file system while files on it are open: what pulling a share does."""
    run("umount", "--lazy", path)
    assert not path.is_mount(), "the fault did not fire"


def shut_down_without_sync(path: Path) -> None:
    """Stop an ext4 at once and lose all that was not synced: a power cut, or a drive pulled."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
    finally:
        os.close(descriptor)


@contextmanager
def tmpfs(path: Path, megabytes: int = 16) -> Iterator[Path]:
    """A file system in memory of that size, on ``path``, which is made if need be."""
    need("mount", "umount")
    path.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", path)
    try:
        yield path
    finally:
        _unmount(path)


@contextmanager
def ramfs(path: Path) -> Iterator[Path]:
    """A file system that answers 0/0/0 when asked for its space, as some shares do."""
    need("mount", "umount")
    path.mkdir(exist_ok=True)
    run("mount", "-t", "ramfs", "ramfs", path)
    try:
        yield path
    finally:
        _unmount(path)


@dataclass(frozen=True)
class Drive:
    """A file system in an image file, as a drive that is plugged in and pulled out again and again."""

    image: Path
    kind: Kind

    @classmethod
    def formatted(cls, image: Path, kind: Kind, megabytes: int = 32) -> Drive:
        """A new, empty one."""
        need("mount", "umount", "losetup", *_TOOLS[kind])
        with image.open("wb") as stream:
            stream.truncate(megabytes << 20)
        run(*_FORMAT[kind], image)
        return cls(image, kind)

    @contextmanager
    def plugged_in(self, path: Path) -> Iterator[Mounted]:
        """Mounted at ``path``, which is made if need be: ext4 over a loop device, else by its driver."""
        if self.kind != "ext4":
            with _served(path, self.image, *_DRIVER[self.kind]) as mounted:
                yield mounted
            return
        mount_ext4(path, self.image)
        try:
            yield Mounted(path, self.image)
        finally:
            _unmount(path)


@contextmanager
def ext4(path: Path, megabytes: int = 32) -> Iterator[Mounted]:
    """A new ext4 in an image file beside ``path``, mounted there over a loop device."""
    with _new(path, "ext4", megabytes) as mounted:
        yield mounted


def mount_ext4(path: Path, image: Path) -> None:
    """Mount an image (again)."""
    path.mkdir(exist_ok=True)
    run("mount", "-o", "loop", image, path)


@contextmanager
def exfat(path: Path, megabytes: int = 32) -> Iterator[Mounted]:
    """A new exFAT in an image file beside ``path``, mounted there by its user-space driver."""
    with _new(path, "exfat", megabytes) as mounted:
        yield mounted


@contextmanager
def ntfs(path: Path, megabytes: int = 32) -> Iterator[Mounted]:
    """A new NTFS in an image file beside ``path``, mounted there by its user-space driver."""
    with _new(path, "ntfs", megabytes) as mounted:
        yield mounted


@contextmanager
def _new(path: Path, kind: Kind, megabytes: int) -> Iterator[Mounted]:
    drive = Drive.formatted(path.with_name(f"{path.name}.img"), kind, megabytes)
    with drive.plugged_in(path) as mounted:
        yield mounted


@contextmanager
def _served(path: Path, image: Path, *driver: str) -> Iterator[Mounted]:
    """An image, mounted at ``path`` by a driver that stays in the foreground."""
    path.mkdir(exist_ok=True)
    device = Path(run("losetup", "--find", "--show", image).strip())
    command = [*driver, str(device), str(path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_mounted(path, server)
        yield Mounted(path, device, server)
    finally:
        _unmount(path)
        server.wait(timeout=30)
        run("losetup", "--detach", device)


def _wait_until_mounted(path: Path, driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not path.is_mount():
        assert driver.poll() is None, f"the file system's driver ended with {driver.returncode}"
        assert time.monotonic() < deadline, f"{path} was not mounted in 30 s"
        time.sleep(0.02)


def _unmount(path: Path) -> None:
    # os.path.ismount would say no for one whose driver died.
    if str(path) not in {mounted.mountpoint for mounted in psutil.disk_partitions(all=True)}:
        return
    # A call that was given up while the mount hung still ends; until then the mount is in use.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    run("umount", path)


@contextmanager
def frozen(path: Path) -> Iterator[None]:
    """An ext4 that takes no writes: whoever writes to it waits, and no signal ends that."""
    need("fsfreeze")
    run("fsfreeze", "--freeze", path)
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", path)


@contextmanager
def stopped(mounted: Mounted) -> Iterator[None]:
    """A file system whose driver does not answer, as a share whose server is gone."""
    assert mounted.driver is not None
    mounted.driver.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        mounted.driver.send_signal(signal.SIGCONT)
