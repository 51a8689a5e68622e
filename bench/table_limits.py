"""Table `limits`: what nobody on this machine can be faster than. CPU seconds for one GiB, or microseconds a call."""

import hashlib
import hmac
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import google_crc32c

from bench.harness import Row
from bench.sets import GIB, KIB, MIB
from bench.table import Table, Wishes

_BLOCK = b"\xa5" * MIB


def measure(wishes: Wishes) -> list[Row]:
    size = GIB // 4 if wishes.quick else GIB
    source = wishes.scratch / "limit.bin"
    with source.open("wb") as file:
        for _ in range(size // MIB):
            file.write(_BLOCK)
    work: dict[str, Callable[[], float]] = {
        "SHA-256, `openssl speed`": _openssl_speed,
        "SHA-256, hashlib": lambda: _per_gib(_sha256, size),
        "CRC32C": lambda: _per_gib(_crc32c, size),
        "read from the page cache": lambda: _per_gib(lambda _: _read(source), size),
        "sendfile to a socket of this machine (both ends)": lambda: _per_gib(lambda _: _sendfile(source), size),
        "HMAC-SHA-256 of 200 bytes, µs": _hmac,
    }
    rows = []
    for name, work_of in work.items():
        values = [work_of() for _ in range(wishes.rounds)]
        rows.append(Row(table="limits", group="", name=name, figures={"value": values}))
    source.unlink()
    return rows


def _per_gib(work: Callable[[int], object], size: int) -> float:
    began = time.process_time()
    work(size)
    return (time.process_time() - began) * GIB / size


def _openssl_speed() -> float:
    command = ["openssl", "speed", "-seconds", "1", "-bytes", str(64 * KIB), "sha256"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    thousands = re.findall(r"^sha256\s+([0-9.]+)k", said, re.MULTILINE)
    return GIB / (float(thousands[-1]) * 1000)


def _sha256(size: int) -> None:
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        digest.update(_BLOCK)


def _crc32c(size: int) -> None:
    value = 0
    for _ in range(size // MIB):
        value = google_crc32c.extend(value, _BLOCK)


def _read(source: Path) -> None:
    with source.open("rb", buffering=0) as file:
        while file.read(MIB):
            pass


def _sendfile(source: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(listener.getsockname()) as out, source.open("rb") as file:
        far, _ = listener.accept()
        dropping = Thread(target=_drop, args=(far,))
        dropping.start()
        out.sendfile(file)
        out.shutdown(socket.SHUT_WR)
        dropping.join()
    listener.close()


def _drop(connection: socket.socket) -> None:
    block = bytearray(MIB)
    with connection:
        while connection.recv_into(block, MIB, socket.MSG_TRUNC):
            pass


def _hmac() -> float:
    key, text, number = b"k" * 32, b"t" * 200, 20_000
    began = time.process_time()
    for _ in range(number):
        hmac.digest(key, text, "sha256")
    return (time.process_time() - began) / number * 1e6


TABLES = (Table("limits", measure),)
