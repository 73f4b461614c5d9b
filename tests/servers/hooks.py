"""A real web server on loopback that keeps what it is sent and answers as told: a switch, a chat room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hooks:
    """``requests`` are (path, body); ``answers`` the statuses of the next ones, 200 after these."""

    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    body: str = "OK"
    lag: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def hooks() -> Iterator[Hooks]:
    """The server for as long as the block runs."""
    room = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            room.requests.append((self.path, body.decode("utf-8")))
            time.sleep(room.lag)
            self.send_response(room.answers.pop(0) if room.answers else 200)
            self.send_header("Content-Length", str(len(room.body)))
            self.end_headers()
            self.wfile.write(room.body.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    room.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield room
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
