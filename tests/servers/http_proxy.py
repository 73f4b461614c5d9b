"""A proxy between a client and a real HTTP server that does to requests what bad networks and services do.

Each request gets an upstream connection of its own. A signature covers the Host header, which passes
unchanged, so the server accepts what was signed for the proxy's address.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

BLOCK = 1 << 16


@dataclass
class Request:
    """One request as the proxy saw it. ``sent`` bytes of its body went on; ``status`` came back, 0: none."""

    method: str
    path: str
    length: int
    sent: int = 0
    status: int = 0
    fault: Fault | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    @property
    def part(self) -> int:
        """The number of the part that it sends, 0 if it sends none."""
        return int(self.query.get("partNumber", ["0"])[0]) if self.method == "PUT" else 0

    @property
    def completes(self) -> bool:
        """Whether it puts an upload in parts together."""
        return self.method == "POST" and "uploadId" in self.query


@dataclass
class Fault:
    """What happens to a request; the defaults do nothing."""

    answer: bytes | None = None  # an answer of the proxy's own; the server never hears of the request
    cut_request: int | None = None  # the connection dies when so much of the body has passed
    cut_answer: int | None = None  # the connection dies when so much of the answer has passed
    silent: bool = False  # nothing comes back until the proxy closes
    rate: float | None = None  # bytes of the body a second
    flip: bool = False  # one bit of the body is turned over on its way


def error_answer(status: int, code: str) -> bytes:
    """A service's refusal. With status 200 it is Amazon's "200 with an error" to a completion."""
    body = f"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>{code}</Code><Message>m</Message></Error>"
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n{body}".encode()


@dataclass
class Proxy:
    """``rule`` decides for each request; ``requests`` keeps them in order of arrival."""

    endpoint: str
    upstream: tuple[str, int]
    rule: Callable[[Request], Fault | None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def fired(self) -> list[Request]:
        """Requests that a fault was done to."""
        return [request for request in self.requests if request.fault]

    def stored_parts(self) -> list[int]:
        """Numbers of the parts that the server took, each as often as it was sent."""
        return [request.part for request in self.requests if request.part and request.status == 200]

    def handle(self, client: socket.socket) -> None:
        with client, suppress(OSError, ConnectionError, ValueError):
            head = read_head(client)
            method, path, _ = head.split(b" ", 2)
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            request = Request(method.decode(), path.decode(), int(length[1]) if length else 0)
            self.requests.append(request)
            fault = request.fault = self.rule(request)
            self.carry(client, head, request, fault or Fault())

    def carry(self, client: socket.socket, head: bytes, request: Request, fault: Fault) -> None:
        expects = b"100-continue" in head.lower()
        if fault.silent:
            self.closing.wait()
            return
        if fault.answer is not None:
            if not expects:
                for _ in blocks(client, request.length):
                    pass
            client.sendall(fault.answer)
            client.shutdown(socket.SHUT_WR)
            return
        with socket.create_connection(self.upstream) as server:
            server.sendall(
                re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)[:-2] + b"Connection: close\r\n\r\n"
            )
            if expects:
                interim = read_head(server)
                client.sendall(interim)
                if b" 100 " not in interim[:16]:
                    request.status = int(interim.split(b" ", 2)[1])
                    relay(server, client, None)
                    return
            if self.send_body(client, server, request, fault):
                answer = read_head(server)
                request.status = int(answer.split(b" ", 2)[1])
                if fault.cut_answer is None:
                    client.sendall(answer)
                    relay(server, client, None)
                elif fault.cut_answer:
                    client.sendall(answer)
                    relay(server, client, fault.cut_answer)

    def send_body(self, client: socket.socket, server: socket.socket, request: Request, fault: Fault) -> bool:
        for block in blocks(client, request.length):
            if fault.cut_request is not None and request.sent + len(block) > fault.cut_request:
                server.sendall(block[: fault.cut_request - request.sent])
                request.sent = fault.cut_request
                return False
            first = fault.flip and not request.sent
            server.sendall(bytes([block[0] ^ 1]) + block[1:] if first else block)
            request.sent += len(block)
            if fault.rate:
                time.sleep(len(block) / fault.rate)
        return True


def read_head(stream: socket.socket) -> bytes:
    """Up to the empty line, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        if not byte:
            raise ConnectionError
        head += byte
    return head


def blocks(stream: socket.socket, length: int) -> Iterator[bytes]:
    while length:
        block = stream.recv(min(BLOCK, length))
        if not block:
            raise ConnectionError
        length -= len(block)
        yield block


def relay(server: socket.socket, client: socket.socket, limit: int | None) -> None:
    passed = 0
    while block := server.recv(BLOCK):
        if limit is not None and passed + len(block) > limit:
            client.sendall(block[: limit - passed])
            return
        client.sendall(block)
        passed += len(block)


@contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the server at ``endpoint`` (http://127.0.0.1:port)."""
    where = urlsplit(endpoint)
    assert where.hostname
    assert where.port
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    # Small, so that a slow request is slow for its sender too.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
    proxy = Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}", (where.hostname, where.port))

    def serve() -> None:
        while not proxy.closing.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=proxy.handle, args=(client,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
