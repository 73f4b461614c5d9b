"""Ports of loopback that nothing uses now.

Not those that the system itself gives out: between the asking and the start of a server, which may take
seconds, any connection of any test could be given the same one.
"""

from __future__ import annotations

import random
import socket

# Below the system's own (32768 and up on Linux), above those of known services.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many of them, each another one."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randint(_FIRST, _LAST)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
