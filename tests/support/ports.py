"""Ports for the servers that tests start.

They lie below those that the kernel gives away by itself, and of several processes that run tests at the same time
(pytest-xdist) each has its own: a port stays free until its server listens, and while that is started again.
"""

import os
import secrets
import socket
from contextlib import suppress
from typing import Final

#: What SeaweedFS listens on for gRPC is so much above each of its ports.
GRPC_OFFSET: Final = 10_000
_FIRST: Final = 10_000


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, nor `GRPC_OFFSET` above it."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ours = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = GRPC_OFFSET // processes
    while True:
        port = _FIRST + ours * each + secrets.randbelow(each)
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + GRPC_OFFSET))
            return port


def free_ports(number: int) -> list[int]:
    """So many different ones."""
    found: set[int] = set()
    while len(found) < number:
        found.add(free_port())
    return list(found)
