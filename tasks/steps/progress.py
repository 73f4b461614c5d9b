"""Progress of long steps, to whoever watches: the terminal, and the run's page in the Prefect UI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext

from tasks.errors import StateError
from tasks.records import Progress

Listener = Callable[[str, int, int], None]
"""Called with (step, done, total) on the step's own thread."""

# An artifact update is a request to the server: once a second is as much as an eye can use. The longer a step
# takes the rarer they become: the uploads of a fleet would keep its server busy.
SECONDS_BETWEEN_UPDATES = 1.0
SHARE_BETWEEN_UPDATES = 0.02
# A step that has read all its bytes may still be at work on them.
MOST_WHILE_WORKING = 99.0

_listeners: list[Listener] = []
_sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="progress")
_interrupted = threading.Event()


@contextmanager
def watched_by(listener: Listener) -> Iterator[None]:
    """Hand all progress made in this process inside the block to ``listener`` too."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def stopping_steps(wait: Callable[[], object]) -> Iterator[None]:
    """Let steps end where the block is interrupted (Ctrl-C, SIGTERM), then ``wait`` for them.

    A thread cannot be ended from outside: each ends itself at its next sign of progress. Without that
    it would go on writing plaintext behind the back of whoever cleans up, and hold up the program's end.
    """
    _interrupted.clear()
    try:
        yield
    except BaseException:
        _interrupted.set()
        wait()
        raise


@contextmanager
def progress_of(step: str) -> Iterator[Progress]:
    """A Progress for the step that the block does: listeners hear all of it, the run's page now and then.

    On the run's page it stands at 100 once the step has ended well; of one that failed nothing stays there.
    """
    page = _Page(step)

    def report(done: int, total: int) -> None:
        for listener in _listeners:
            listener(step, done, total)
        if _interrupted.is_set():
            raise StateError(f"{step} was interrupted", hint="Run the backup again, or `datasave retry`.")
        page.show(done, total)

    try:
        yield report
    except BaseException:
        page.remove()
        raise
    page.finish()


class _Page:
    """The progress artifact of one step; made at the first sign that the step takes long.

    Sent from a thread of its own, and never waited for: the step may hold a lock on the office's
    database, and a server that hiccups must cost neither time nor the backup.
    """

    def __init__(self, step: str) -> None:
        self._step = step
        self._artifact: UUID | None = None
        self._began = self._shown = time.monotonic()
        self._sending: Future[None] | None = None

    def show(self, done: int, total: int) -> None:
        """Tell how far the step is, now and then; never that it is done, which only its end shows."""
        now = time.monotonic()
        busy = self._sending is not None and not self._sending.done()
        pause = max(SECONDS_BETWEEN_UPDATES, SHARE_BETWEEN_UPDATES * (now - self._began))
        if busy or total <= 0 or now - self._shown < pause or TaskRunContext.get() is None:
            return
        self._shown = now
        self._submit(self._send, min(MOST_WHILE_WORKING, 100.0 * done / total))

    def finish(self) -> None:
        """The step has ended well."""
        if self._sending is not None:
            self._submit(self._send, 100.0)

    def remove(self) -> None:
        """The step has failed: a bar that stands still would look like work."""
        if self._sending is not None:
            self._submit(self._delete)

    def _submit(self, send: Callable[..., None], *arguments: float) -> None:
        self._sending = _sender.submit(copy_context().run, send, *arguments)

    def _send(self, percent: float) -> None:
        if self._artifact is None:
            created = create_progress_artifact(progress=percent, description=self._step)
            self._artifact = created if isinstance(created, UUID) else None
        else:
            update_progress_artifact(artifact_id=self._artifact, progress=percent)

    def _delete(self) -> None:
        if self._artifact is not None:
            with get_client(sync_client=True) as client:
                client.delete_artifact(self._artifact)
