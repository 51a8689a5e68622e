"""One HTTP/1.1 exchange after the other over one socket. Knows bytes, framing and time-outs; no S3 and no policy.

The socket never blocks, and every wait is bounded: `stall_seconds` without a byte moving in either direction ends the
exchange, and a server that lets bytes through drop by drop is given up too (pacing.Floor). While a body is being sent
the socket is also watched for an answer: a server that refuses early is heard at once, and a connection on which not
everything was sent is not used again. A file's bytes go from the page cache to a plain socket by sendfile, to TLS
through 256 KiB of memory. Memory does not depend on sizes.
"""

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Final

from pinnace.stores import http1
from pinnace.stores.http1 import Answer, FileSlice, Head, HttpRequest
from pinnace.stores.pacing import ANSWER_SECONDS, Bandwidth, Floor
from pinnace.stores.store import CorruptContent, StoreUnreachable

#: The most that is kept of an answer's body which goes into no sink: a page of 1000 keys of 1024 encoded bytes fits.
MAX_ANSWER_BYTES: Final = 4 * 2**20
MAX_HEAD_BYTES: Final = 64 * 2**10
_BLOCK_BYTES: Final = 256 * 2**10
_HEAD_BLOCK_BYTES: Final = 16 * 2**10
#: Up to this size a body is sent in one call with the head: one copy is cheaper than two packets.
_SMALL_BODY_BYTES: Final = 64 * 2**10

#: What the other side, or the network, does to a socket. Any other error of sendfile is the file's.
_BROKEN: Final = frozenset(
    {errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH}
)
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_WAITING: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """One socket that has been connected (and has shaken hands). Used by one thread at a time.

    After an exchange `reusable` says whether another may follow. After an exception it is to be closed;
    `dropped_unanswered` then says whether the other side had closed it before a single byte of an answer.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        stall_seconds: float,
        answer_seconds: float = ANSWER_SECONDS,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._stall_ms = int(stall_seconds * 1000)
        self._answer_seconds = answer_seconds
        self._bandwidth = bandwidth
        self._floor = self._new_floor()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._buffer = bytearray()
        self._block = memoryview(bytearray(_HEAD_BLOCK_BYTES))
        self._is_plain = not isinstance(sock, ssl.SSLSocket)
        #: What was begun and is not finished, and whether all of it was sent.
        self._request: HttpRequest | None = None
        self._sent = False
        self._answered = False
        self.reusable = False
        self.dropped_unanswered = False

    def close(self) -> None:
        self._socket.close()

    def is_quiet(self) -> bool:
        """Whether an idle connection is still open and has nothing to say: else it is of no more use."""
        self._poll.modify(self._socket, select.POLLIN)
        return not self._poll.poll(0)

    def begin(self, request: HttpRequest) -> None:
        """Send a request; `finish` reads its answer.

        Both raise StoreUnreachable when the answer does not come or breaks off, CorruptContent when the file is shorter
        than its slice, TransientStoreError `BadAnswer` for what isn't HTTP, OSError when the file or the sink fails.
        """
        self.reusable = self._answered = self.dropped_unanswered = False
        self._floor = self._new_floor()
        self._sent = self._send(http1.request_head(request), request.body)
        self._floor.sent()
        self._request = request

    def finish(self) -> Answer:
        """The answer to the request that was begun."""
        request = self._request
        assert request is not None
        self._request = None
        head = self._read_head()
        while head.status < 200:
            if not self._sent:
                raise http1.bad_answer(f"an interim {head.status} that nobody asked for")
            head = self._read_head()
        kept = bytearray()
        # Most answers to an upload say that they have no body.
        delimited = request.method == "HEAD" or head.status in (204, 304) or http1.is_empty(head.headers)
        if not delimited:
            sink = request.sink if head.status == request.sink_status else None
            delimited = self._read_body(head.headers, sink.write if sink else _bounded(kept))
        self.reusable = self._sent and delimited and head.keep_alive and not self._buffer
        return Answer(status=head.status, headers=head.headers, body=bytes(kept))

    def _new_floor(self) -> Floor:
        return Floor(self._stall_ms / 1000, answer_seconds=self._answer_seconds)

    def _allowed(self, size: int) -> int:
        """How many of `size` bytes may go now, after waiting for them where there is a limit."""
        if self._bandwidth is None:
            return size
        size = min(size, self._bandwidth.piece_bytes)
        self._floor.held_up(self._bandwidth.take(size))
        return size

    # --- sending: each returns False when the other side has answered or gone before everything was sent

    def _send(self, head: bytes, body: bytes | FileSlice) -> bool:
        if isinstance(body, bytes):
            return self._send_bytes(head + body)
        if body.size <= _SMALL_BODY_BYTES:
            if self._bandwidth is not None:
                self._floor.held_up(self._bandwidth.take(body.size))
            return self._send_bytes(head + read_slice(body, 0, body.size))
        if not self._send_bytes(head):
            return False
        return self._send_by_kernel(body) if self._is_plain else self._send_by_copy(body, 0)

    def _send_bytes(self, data: bytes) -> bool:
        left: bytes | memoryview = data
        while left:
            try:
                count = self._socket.send(left)
                self._floor.moved(count)
                left = memoryview(left)[count:] if count < len(left) else b""
            except _WAITING:
                if self._is_answered_while_sending():
                    return False
            except OSError:
                # The answer may lie in our receive buffer all the same; reading it tells.
                return False
        return True

    def _send_by_copy(self, body: FileSlice, position: int) -> bool:
        while position < body.size:
            data = read_slice(body, position, self._allowed(min(_BLOCK_BYTES, body.size - position)))
            if not self._send_bytes(data):
                return False
            position += len(data)
        return True

    def _send_by_kernel(self, body: FileSlice) -> bool:
        out, source, position, allowed = self._socket.fileno(), body.source.fileno(), 0, 0
        while position < body.size:
            allowed = allowed or self._allowed(body.size - position)
            try:
                count = os.sendfile(out, source, body.offset + position, allowed)
            except BlockingIOError:
                if self._is_answered_while_sending():
                    return False
                continue
            except OSError as error:
                if error.errno in _BROKEN:
                    return False
                if error.errno in _NO_SENDFILE:
                    return self._send_by_copy(body, position)
                raise
            if count == 0:
                raise _too_short(body, position)
            position += count
            allowed -= count
            self._floor.moved(count)
        return True

    def _is_answered_while_sending(self) -> bool:
        """Wait until there is room to send or something to read; whether it was something to read."""
        if not self._wait(select.POLLIN | select.POLLOUT) & ~select.POLLOUT:
            return False
        try:
            data = self._socket.recv(_BLOCK_BYTES)
        except _WAITING:
            return False  # TLS's own talk
        except OSError:
            return True
        self._buffer += data
        return True

    # --- receiving

    def _wait(self, events: int) -> int:
        # Of several requests that are out the answers are awaited one after the other: nobody's patience begins anew.
        out_for = self._floor.check()
        silent = 0.0 if self._answered or self._buffer else out_for
        self._poll.modify(self._socket, events)
        ready = self._poll.poll(max(self._stall_ms - int(silent * 1000), 0))
        if not ready:
            raise StoreUnreachable(
                f"no byte moved for {self._stall_ms / 1000:g} s",
                hint="the store is overloaded or the network drops packets",
            )
        return ready[0][1]

    def _receive_into(self, block: memoryview) -> int:
        """At least one byte; StoreUnreachable when there will be none."""
        count = self._receive_until_closed(block)
        if count == 0:
            raise self._broken_off("closed by the store")
        return count

    def _receive_until_closed(self, block: memoryview) -> int:
        """Like `_receive_into`, but 0 when the store has closed the connection in good order."""
        while True:
            try:
                return self._socket.recv_into(block)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN)
            except OSError as error:
                raise self._broken_off(str(error)) from error

    def _broken_off(self, how: str) -> StoreUnreachable:
        answered = self._answered or bool(self._buffer)
        self.dropped_unanswered = not answered
        return StoreUnreachable(
            f"the connection ended {'in the middle of' if answered else 'before'} the answer: {how}"
        )

    def _fill(self) -> None:
        count = self._receive_into(self._block)
        self._buffer += self._block[:count]

    def _read_head(self) -> Head:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise http1.bad_answer(f"headers of more than {MAX_HEAD_BYTES} bytes")
            self._fill()
        self._answered = True
        head = http1.parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        return head

    def _read_body(self, headers: dict[str, str], write: Callable[[memoryview], object]) -> bool:
        """Pass the body on; whether its end was marked, other than by the end of the connection."""
        size = http1.content_length(headers)
        if http1.is_chunked(headers):
            self._read_chunks(write)
            # Both at once is how requests are smuggled: don't trust what follows.
            return size is None
        if size is None:
            self._read_to_the_end(write)
            return False
        self._floor.announced(size)
        self._read_exactly(size, write)
        return True

    def _read_exactly(self, size: int, write: Callable[[memoryview], object]) -> None:
        if taken := bytes(self._buffer[:size]):
            del self._buffer[:size]
            write(memoryview(taken))
        remaining = size - len(taken)
        block = memoryview(bytearray(min(remaining, _BLOCK_BYTES)))
        while remaining:
            count = self._receive_into(block[: self._allowed(min(remaining, _BLOCK_BYTES))])
            write(block[:count])
            remaining -= count

    def _read_chunks(self, write: Callable[[memoryview], object]) -> None:
        while size := http1.parse_chunk_size(self._read_line()):
            self._read_exactly(size, write)
            if self._read_line():
                raise http1.bad_answer("a chunk that is longer than it says")
        while self._read_line():
            pass  # trailers tell us nothing

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise http1.bad_answer("a line without an end")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_to_the_end(self, write: Callable[[memoryview], object]) -> None:
        block = memoryview(bytearray(_BLOCK_BYTES))
        self._read_exactly(len(self._buffer), write)
        while count := self._receive_until_closed(block):
            write(block[:count])


def read_slice(body: FileSlice, position: int, size: int) -> bytes:
    """So many bytes of the slice; CorruptContent when the file ends before, OSError when it can't be read."""
    data = os.pread(body.source.fileno(), size, body.offset + position)
    if len(data) < size:
        if not data:
            raise _too_short(body, position)
        return data + read_slice(body, position + len(data), size - len(data))
    return data


def _bounded(kept: bytearray) -> Callable[[memoryview], object]:
    def write(data: memoryview) -> None:
        if len(kept) + len(data) > MAX_ANSWER_BYTES:
            raise http1.bad_answer(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        kept.extend(data)

    return write


def _too_short(body: FileSlice, position: int) -> CorruptContent:
    return CorruptContent(
        f"the file ends at byte {body.offset + position}, and {body.size} bytes from {body.offset} on were to be sent",
        code="SourceTooShort",
        hint="hash the source again",
    )
