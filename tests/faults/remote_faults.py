"""What may happen to any folder on another machine: one body of tests for every way there.

Subclasses give the fixture ``server``: a real one, whose disk ``disk`` is small. Every test proves that
its fault fired.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from tasks.errors import TargetError, TargetFull, TargetMissing, TargetReadOnly
from tasks.options import Options
from tasks.targets.shared.marker import MARKER
from tasks.targets.shared.remote import IN_FLIGHT, RemoteFolderTarget
from tests import mounts
from tests.contract.target_contract import MIB, SEALED, ThenReader, get, put, some_bytes
from tests.faults.folders import tree
from tests.servers.account import own
from tests.servers.ports import free_ports
from tests.servers.tcp_proxy import TcpProxy, tcp_proxy_to

LARGE = some_bytes(12 * MIB)
# What a protocol adds to what it carries: headers, answers, looking at the marker, logging in.
OVERHEAD = MIB // 2

CHILD = """
import sys
from pathlib import Path
from tasks.platform.files import HashingReader
from tasks.targets.registry import make_target, option_models
kind, options, staged, name = sys.argv[1:]
path = Path(staged)
with make_target("vault", option_models()[kind].model_validate_json(options)) as target:
    with path.open("rb", buffering=0) as stream:
        target.put(name, HashingReader(stream).stream, path.stat().st_size)
"""

_numbers = itertools.count()


class Server(Protocol):
    """A server under test. ``place`` makes a folder of its account; ``disk`` is a disk of 32 MB."""

    port: int

    @property
    def disk(self) -> Path: ...
    def place(self, name: str) -> Path: ...
    def options(self, path: Path, **changes: Any) -> Options: ...
    def target(self, path: Path, name: str = "vault", **changes: Any) -> RemoteFolderTarget: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def frozen(self) -> AbstractContextManager[None]: ...


def refused(call: Callable[[], object], kind: type[TargetError], *words: str, permanent: bool) -> TargetError:
    """The error that ``call`` raises; each has a hint, and says what, where and why on one line."""
    with pytest.raises(kind) as caught:
        call()
    for word in ("vault", *words):
        assert word in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.permanent is permanent, caught.value
    return caught.value


def every_call(target: RemoteFolderTarget) -> list[Callable[[], object]]:
    return [
        lambda: put(target, SEALED, b"x" * MIB),
        lambda: put(target, f"TUE/{SEALED}", b"x"),
        lambda: get(target, SEALED),
        lambda: target.stat(SEALED),
        target.list,
        lambda: target.delete(SEALED),
        target.free_space,
    ]


def parts(root: Path) -> list[str]:
    return [name for name in tree(root) if name.endswith(".part")]


class Paused(io.BytesIO):
    """Gives its bytes, and calls ``then`` once when ``at`` of them were read."""

    def __init__(self, data: bytes, at: int, then: Callable[[], None]) -> None:
        super().__init__(data)
        self.at = at
        self.then: Callable[[], None] | None = then

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() < self.at:
            return super().read(min(size or 0, self.at - self.tell()))
        if self.then:
            then, self.then = self.then, None
            then()
        return super().read(size)


def wait_for_part(root: Path, size: int) -> int:
    """Until a part file there has so many bytes; how many it has."""
    deadline = time.monotonic() + 20
    while True:
        sizes = [(root / name).stat().st_size for name in parts(root)]
        if sizes and sizes[0] >= size:
            return sizes[0]
        assert time.monotonic() < deadline, f"no part file of {size} bytes, but {sizes}"
        time.sleep(0.01)


class RemoteFaults:
    """The tests. ``root`` is a prepared folder of the server, ``target`` a target onto it."""

    @pytest.fixture
    def bare(self, server: Server) -> Path:
        return server.place(f"faults-{next(_numbers)}")

    @pytest.fixture
    def root(self, server: Server, bare: Path) -> Path:
        with server.target(bare) as target:
            target.prepare()
        return bare

    @pytest.fixture
    def target(self, server: Server, root: Path) -> Iterator[RemoteFolderTarget]:
        with server.target(root) as target:
            yield target

    @pytest.fixture
    def proxy(self, server: Server) -> Iterator[TcpProxy]:
        with tcp_proxy_to(server.port) as proxy:
            yield proxy

    @pytest.fixture
    def far(self, server: Server, root: Path, proxy: TcpProxy) -> Iterator[RemoteFolderTarget]:
        """A target that goes through the proxy."""
        with server.target(root, port=proxy.port) as target:
            yield target

    # The wrong place

    def test_no_folder(self, server: Server, bare: Path) -> None:
        with server.target(bare / "nowhere") as target:
            for call in every_call(target):
                error = refused(call, TargetMissing, "is not there", permanent=True)
                assert "`datasave target init vault`" in error.hint
        with server.target(bare / "no" / "where") as target:
            refused(target.prepare, TargetMissing, "not there", permanent=True)
        assert tree(bare) == []

    def test_no_marker(self, server: Server, bare: Path) -> None:
        """The folder beneath a disk that is not mounted: nothing at all is written there."""
        with server.target(bare) as target:
            for call in every_call(target):
                refused(call, TargetMissing, "no marker", permanent=True)
        assert tree(bare) == []

    def test_foreign_marker(self, server: Server, root: Path, target: RemoteFolderTarget) -> None:
        put(target, SEALED, b"the vault's own")
        before = tree(root)
        with server.target(root, name="other") as other:
            for call in (*every_call(other), other.prepare):
                with pytest.raises(TargetError, match="'vault'") as caught:
                    call()
                assert caught.value.permanent
        assert tree(root) == before
        assert get(target, SEALED) == b"the vault's own"

    def test_a2_another_target_inside_is_never_crossed_into(
        self, server: Server, root: Path, target: RemoteFolderTarget
    ) -> None:
        put(target, SEALED, b"ours")
        put(target, f"TUE/{SEALED}", b"ours")
        own(root / "long")
        with server.target(root / "long", name="long") as inner:
            inner.prepare()
            put(inner, SEALED, b"theirs")
            assert [item.name for item in target.list()] == [f"TUE/{SEALED}", SEALED]
            for call in (lambda: put(target, "long/x", b""), lambda: target.delete(f"long/{SEALED}")):
                with pytest.raises(TargetError, match=r"the folder long .* belongs to another target"):
                    call()
            assert get(inner, SEALED) == b"theirs"

    @pytest.mark.parametrize("content", [b"", b"[]", b'{"datasave": 2, "target": "vault"}'])
    def test_damaged_marker(self, root: Path, target: RemoteFolderTarget, content: bytes) -> None:
        (root / MARKER).write_bytes(content)
        for call in (*every_call(target), target.prepare):
            refused(call, TargetMissing, "damaged or of an unknown version", permanent=True)
        assert tree(root) == [MARKER]

    def test_the_disk_goes_away_meanwhile(self, root: Path, target: RemoteFolderTarget) -> None:
        """The marker is asked again before the object gets its name."""
        put(target, "old", b"x")

        def pull() -> bytes:
            (root / MARKER).unlink(missing_ok=True)
            return b""

        reader = ThenReader(2 * MIB, pull)
        refused(lambda: target.put("TUE/new", reader, 2 * MIB), TargetMissing, "marker", permanent=True)
        assert reader.fired
        assert tree(root) == ["old"], "no part and no folder stays"

    # Disks

    def test_full(self, server: Server) -> None:
        with server.target(server.disk) as target:
            target.prepare()
            put(target, SEALED, b"old")
            for name in (SEALED, "TUE/new"):
                error = refused(
                    lambda name=name: put(target, name, bytes(40 * MIB)),
                    TargetFull,
                    name,
                    "full",
                    permanent=True,
                )
                assert error.__cause__ is not None, "the fault fired"
            assert get(target, SEALED) == b"old"
            assert [item.name for item in target.list()] == [SEALED]
            assert parts(server.disk) == []
            put(target, "small", bytes(MIB))
            free = target.free_space()
            assert free is not None
            assert MIB < free < 32 * MIB

    def test_read_only(self, server: Server) -> None:
        with server.target(server.disk) as target:
            target.prepare()
            put(target, SEALED, b"old")
            before = tree(server.disk)
            mounts.run("mount", "-o", "remount,ro", server.disk)
            try:
                for call in (
                    lambda: put(target, "new", b"x"),
                    lambda: put(target, "THU/new", b"x"),
                    lambda: target.delete(SEALED),
                ):
                    assert refused(call, TargetReadOnly, permanent=True).__cause__ is not None, (
                        "the fault fired"
                    )
                assert get(target, SEALED) == b"old"
            finally:
                mounts.run("mount", "-o", "remount,rw", server.disk)
            assert tree(server.disk) == before

    def test_no_rights(self, root: Path, target: RemoteFolderTarget) -> None:
        put(target, SEALED, b"old")
        os.chown(root, 0, 0)
        root.chmod(0o755)
        for call in (lambda: put(target, "new", b"x"), lambda: target.delete(SEALED)):
            refused(call, TargetReadOnly, permanent=True)
        assert get(target, SEALED) == b"old"
        (root / SEALED).chmod(0o600)
        os.chown(root / SEALED, 0, 0)
        refused(lambda: get(target, SEALED), TargetError, SEALED, permanent=True)

    # Servers and networks

    def goes_on(self, target: RemoteFolderTarget, root: Path, proxy: TcpProxy) -> None:
        """The next put sends only what is not surely there, and leaves one whole object."""
        assert SEALED not in [item.name for item in target.list()]
        (there,) = [(root / name).stat().st_size for name in parts(root)]
        assert there > IN_FLIGHT + MIB, "it broke off in the middle"
        proxy.reset()
        put(target, SEALED, LARGE)
        assert len(LARGE) - there < proxy.sent < len(LARGE) - (there - IN_FLIGHT) + OVERHEAD
        assert get(target, SEALED) == LARGE
        assert parts(root) == []

    def test_server_killed(
        self, server: Server, root: Path, proxy: TcpProxy, far: RemoteFolderTarget
    ) -> None:
        """Nothing half-written shows; the next put goes on where it stopped, on the same target object."""

        def kill() -> None:
            wait_for_part(root, 6 * MIB)
            server.stop()

        source = Paused(LARGE, 10 * MIB, kill)
        try:
            refused(lambda: far.put(SEALED, source, len(LARGE)), TargetMissing, SEALED, permanent=False)
            assert source.then is None, "the fault fired"
            refused(far.list, TargetMissing, permanent=False)
        finally:
            server.start()
        self.goes_on(far, root, proxy)

    def test_we_are_killed(
        self, server: Server, root: Path, proxy: TcpProxy, far: RemoteFolderTarget, tmp_path: Path
    ) -> None:
        staged = tmp_path / SEALED
        staged.write_bytes(LARGE)
        options = server.options(root, port=proxy.port, bandwidth="10MB/s")
        arguments = [options.kind, options.model_dump_json(exclude_none=True), str(staged), SEALED]
        child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments])
        wait_for_part(root, 6 * MIB)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "the fault fired"
        self.goes_on(far, root, proxy)

    @pytest.mark.parametrize("at", [0, 600, 3 * MIB, 9 * MIB])
    def test_a_put_that_is_cut(self, root: Path, proxy: TcpProxy, far: RemoteFolderTarget, at: int) -> None:
        proxy.cut_sent = at
        error = refused(lambda: put(far, SEALED, LARGE), TargetMissing, permanent=False)
        assert proxy.fired, "the fault fired"
        assert error.__cause__ is not None
        proxy.reset()
        with suppress(TargetMissing):
            far.list()  # the first call may still meet the connection that broke
        assert far.list() == []
        put(far, SEALED, LARGE)
        assert get(far, SEALED) == LARGE
        assert parts(root) == []

    def test_a_reading_that_is_cut(self, proxy: TcpProxy, far: RemoteFolderTarget) -> None:
        put(far, SEALED, LARGE)
        proxy.reset()
        proxy.cut_received = 5 * MIB
        refused(lambda: get(far, SEALED), TargetMissing, SEALED, permanent=False)
        assert proxy.fired, "the fault fired"
        proxy.reset()
        assert get(far, SEALED) == LARGE, "the same target object connects anew"

    def test_frozen(self, server: Server, root: Path) -> None:
        with server.target(root, timeout=2) as target:
            put(target, SEALED, b"old")
            with server.frozen():
                began = time.monotonic()
                refused(target.list, TargetMissing, "does not answer", permanent=False)
                assert 1 < time.monotonic() - began < 8, "it froze, and was given up in time"
            assert get(target, SEALED) == b"old"

    def test_frozen_in_the_middle(
        self, server: Server, root: Path, proxy: TcpProxy, far: RemoteFolderTarget
    ) -> None:
        with contextlib.ExitStack() as stack, server.target(root, timeout=2) as target:

            def freeze() -> None:
                wait_for_part(root, 6 * MIB)
                stack.enter_context(server.frozen())

            source = Paused(LARGE, 10 * MIB, freeze)
            began = time.monotonic()
            refused(lambda: target.put(SEALED, source, len(LARGE)), TargetMissing, SEALED, permanent=False)
            assert source.then is None, "the fault fired"
            assert time.monotonic() - began < 15
        self.goes_on(far, root, proxy)

    def test_nobody_there(self, server: Server, root: Path, proxy: TcpProxy) -> None:
        (unused,) = free_ports(1)
        for place in ({"port": unused}, {"host": "nowhere.invalid", "server": "nowhere.invalid"}):
            known = {key: value for key, value in place.items() if key in server.options(root).model_dump()}
            with server.target(root, **known) as target:
                refused(target.list, TargetMissing, "cannot be reached", permanent=False)

    def test_someone_else_answers(self, server: Server, root: Path) -> None:
        """Another service on that port: it is told from a broken connection only where it says something."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                with suppress(OSError):
                    while True:
                        client, _ = listener.accept()
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        client.close()

            threading.Thread(target=answer, daemon=True).start()
            with server.target(root, port=listener.getsockname()[1], timeout=1) as target:
                with pytest.raises(TargetError) as caught:
                    target.list()
                assert "\n" not in str(caught.value)
                assert caught.value.hint
            listener.shutdown(socket.SHUT_RDWR)

    def test_nothing_stays_behind(self, server: Server, root: Path) -> None:
        """Neither threads nor connections, also where something was still open."""
        before = threading.active_count()
        target = server.target(root)
        put(target, SEALED, b"x" * MIB)
        with target.open(SEALED) as stream:
            stream.read(1)
            target.close()
        target.close()
        deadline = time.monotonic() + 5
        while threading.active_count() > before:
            assert time.monotonic() < deadline, threading.enumerate()
            time.sleep(0.02)

    # Going on

    def half(self, root: Path, data: bytes, size: int = 8 * MIB, name: str = f".{SEALED}.part") -> Path:
        """What a dead run left."""
        path = root / name
        path.write_bytes(data[:size])
        os.chown(path, root.stat().st_uid, root.stat().st_gid)
        return path

    def test_a_part_of_other_bytes(self, root: Path, target: RemoteFolderTarget) -> None:
        """Sealed anew under the same name: nothing of the old part may stay in it."""
        self.half(root, some_bytes(12 * MIB, 2))
        put(target, SEALED, LARGE)
        assert (root / SEALED).read_bytes() == LARGE
        assert parts(root) == []

    @pytest.mark.parametrize("size", [0, 1, 3 * MIB, 5 * MIB, 12 * MIB - 1, 12 * MIB, 13 * MIB])
    def test_parts_of_any_size(self, root: Path, target: RemoteFolderTarget, size: int) -> None:
        self.half(root, LARGE + bytes(MIB), size)
        put(target, SEALED, LARGE)
        assert (root / SEALED).read_bytes() == LARGE
        assert parts(root) == []

    def test_what_was_under_way_counts_for_nothing(self, root: Path, target: RemoteFolderTarget) -> None:
        """Requests that were not confirmed may have left holes: all of those bytes are sent again."""
        self.half(root, LARGE[: 8 * MIB - IN_FLIGHT] + bytes(IN_FLIGHT))
        put(target, SEALED, LARGE)
        assert (root / SEALED).read_bytes() == LARGE

    def test_a_damaged_part(self, root: Path, target: RemoteFolderTarget) -> None:
        """A server whose power failed may have kept the length and lost the bytes."""
        self.half(root, LARGE[: 2 * MIB] + bytes(6 * MIB))
        refused(lambda: put(target, SEALED, LARGE), TargetError, SEALED, "damaged", permanent=False)
        assert tree(root) == [MARKER]
        put(target, SEALED, LARGE)
        assert (root / SEALED).read_bytes() == LARGE

    def test_dead_parts(self, root: Path, target: RemoteFolderTarget) -> None:
        restarted = self.half(root, b"x", name=".a.00112233aabbccdd.part")
        young = self.half(root, b"x", name=".b.00112233aabbccdd.part")
        old = self.half(root, b"x", name=".c.00112233aabbccdd.part")
        waiting = self.half(root, b"x", name=".d.part")
        forgotten = self.half(root, b"x", name=".e.part")
        for path, days in ((old, 2), (waiting, 2), (forgotten, 8)):
            os.utime(path, (time.time() - days * 86_400,) * 2)
        put(target, "a", b"a")
        assert target.list() == [target.stat("a")]
        assert not restarted.exists()
        assert not old.exists()
        assert not forgotten.exists()
        assert young.exists()
        assert waiting.exists()

    # The rest

    def test_bandwidth(self, server: Server, root: Path) -> None:
        with server.target(root, bandwidth="8MB/s") as target:
            target.list()
            began = time.monotonic()
            put(target, SEALED, LARGE)
            assert 1.3 < time.monotonic() - began < 3.5

    def test_what_is_no_object(self, root: Path, target: RemoteFolderTarget, tmp_path: Path) -> None:
        """Hidden files and the systems' own folders are not listed."""
        put(target, "TUE/a", b"a")
        (root / "lost+found").mkdir()
        (root / "@eaDir").mkdir()
        (root / "@eaDir" / "a").write_bytes(b"x")
        (root / ".hidden").write_bytes(b"x")
        assert [item.name for item in target.list()] == ["TUE/a"]
        for name in (MARKER, "TUE/.hidden", ".a.part"):
            with pytest.raises(ValueError, match="dot"):
                put(target, name, b"x")

    def test_no_secret_in_arguments(self, root: Path, target: RemoteFolderTarget) -> None:
        """Arguments can be read by every account of the machine."""
        secret = self.secret()
        seen: list[bytes] = []

        def look() -> None:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.append(path.read_bytes())

        target.put(SEALED, Paused(LARGE, MIB, look), len(LARGE))
        assert len(seen) > 1
        assert not [line for line in seen if secret.encode() in line]

    def secret(self) -> str:
        raise NotImplementedError
