"""A connection to the S3 server of the tests: HTTP, and the faults that show in it."""

import socket
import socketserver
import time
from email.utils import format_datetime
from typing import TYPE_CHECKING

from support.s3_exchange import Answer, Request, S3Error, error_answer
from support.s3_faults import Fault, Misbehaviour
from support.s3_objects import md5_of

if TYPE_CHECKING:
    from support.s3_server import S3Server


class S3Connection(socketserver.StreamRequestHandler):
    """One keep-alive connection: reads requests, lets the server answer, carries faults out."""

    server: "S3Server"
    disable_nagle_algorithm = True
    timeout = 60

    def handle(self) -> None:
        try:
            while self._one_request():
                pass
        except (ConnectionError, TimeoutError, ValueError):
            return

    def _one_request(self) -> bool:
        line = self.rfile.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return False
        headers: dict[str, str] = {}
        while (header := self.rfile.readline(65536).decode("utf-8").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        head = Request(line[0], line[1], headers, b"")
        fault = self.server.fault_for(head.operation, head.path[1])
        length = int(headers.get("content-length", "0"))
        if fault and fault.kind is Misbehaviour.RESET_BEFORE_BODY:
            return self._reset()
        if fault and fault.kind is Misbehaviour.RESET_MID_BODY:
            self.rfile.read(length // 2)
            return self._reset()
        request = Request(line[0], line[1], headers, self.rfile.read(length))
        return self._answer(request, fault)

    def _answer(self, request: Request, fault: Fault | None) -> bool:
        if fault is None:
            return self._send(request, self._done(request))
        match fault.kind:
            case Misbehaviour.RESET_AFTER_BODY:
                return self._reset()
            case Misbehaviour.STATUS | Misbehaviour.ERROR_IN_200:
                return self._send(request, fault.answer())
            case Misbehaviour.LOSES_BYTES:
                return self._send(request, self.server.lose(request, request.body[:-1]))
            case Misbehaviour.WRONG_CONTENT:
                return self._send(request, self.server.keep_another(request))
        return self._answer_stored(request, fault)

    def _answer_stored(self, request: Request, fault: Fault) -> bool:
        answer = self._done(request)
        match fault.kind:
            case Misbehaviour.RESET_AFTER_STORED:
                return self._reset()
            case Misbehaviour.STATUS_STORED:
                return self._send(request, fault.answer())
            case Misbehaviour.SLOW:
                time.sleep(fault.seconds)
            case Misbehaviour.WRONG_ETAG:
                answer.headers["ETag"] = f'"{md5_of(b"something else")}"'
                answer.headers.pop("x-amz-checksum-crc32c", None)
            case Misbehaviour.TRUNCATED_ANSWER:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
                return self._reset()
        return self._send(request, answer)

    def _done(self, request: Request) -> Answer:
        try:
            answer = self.server.carry_out(request)
        except S3Error as error:
            return error_answer(error)
        self.server.on_done(request.operation)
        return answer

    def _send(self, request: Request, answer: Answer) -> bool:
        length = len(answer.body) if answer.length is None else answer.length
        head = [f"HTTP/1.1 {answer.status} Any", f"Content-Length: {length}"]
        head += [f"Date: {format_datetime(self.server.now(), usegmt=True)}", "x-amz-request-id: test"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = b"" if request.method == "HEAD" or answer.status == 204 else answer.body
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)
        return request.headers.get("connection", "").lower() != "close"

    def _reset(self) -> bool:
        # SO_LINGER 0 makes close() send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.connection.close()
        raise ConnectionResetError
