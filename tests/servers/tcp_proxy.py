"""A proxy before any TCP server that counts what passes, and cuts or stalls connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

BLOCK = 1 << 18


@dataclass
class TcpProxy:
    """``sent`` bytes went to the server, ``received`` came back, of all connections together.

    ``cut_sent`` and ``cut_received`` end every connection once as many have passed: the fault fired then.
    """

    port: int
    upstream: int
    sent: int = 0
    received: int = 0
    connections: int = 0
    cut_sent: int | None = None
    cut_received: int | None = None
    fired: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def reset(self) -> None:
        """Count from 0 again, and cut no more."""
        self.sent = self.received = self.connections = self.fired = 0
        self.cut_sent = self.cut_received = None

    def cut(self) -> None:
        """End all connections now."""
        for end in self.sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.sockets.clear()

    def handle(self, client: socket.socket) -> None:
        self.connections += 1
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets += [client, server]
        threading.Thread(target=self.relay, args=(client, server, "sent"), daemon=True).start()
        threading.Thread(target=self.relay, args=(server, client, "received"), daemon=True).start()

    def relay(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK):
                limit = getattr(self, f"cut_{way}")
                if limit is not None and getattr(self, way) + len(block) > limit:
                    self.fired += 1
                    self.cut()
                    return
                sink.sendall(block)
                setattr(self, way, getattr(self, way) + len(block))
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy_to(port: int) -> Iterator[TcpProxy]:
    """A proxy on a free loopback port before the server on ``port``."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    proxy = TcpProxy(listener.getsockname()[1], port)

    def serve() -> None:
        with suppress(OSError):
            while True:
                proxy.handle(listener.accept()[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        proxy.cut()
        thread.join(5)
