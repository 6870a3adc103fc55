"""A real HTTP server on loopback that knows ranges and validators, and fails in the ways that mirrors fail."""

import hashlib
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler", bytes], None]


class Server(ThreadingHTTPServer):
    """Serves `files` by path. Each request is first offered to the next of `faults`; `requests` keeps their headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, str]] = []
        self.validators = True

    def handle_error(self, *_: object) -> None:
        """Keep quiet about clients that hang up."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append({name.title(): value for name, value in self.headers.items()})
        body = self.server.files.get(self.path)
        if self.server.faults:
            self.server.faults.popleft()(self, body or b"")
        elif body is None:
            self.answer(404, b"<html>not here</html>")
        else:
            self.send(body)

    def send(self, body: bytes, *, sent: int | None = None) -> None:
        """Answer as a good server does; of the body only the first `sent` bytes, and then the connection is cut."""
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        headers = {"ETag": etag} if self.server.validators else {}
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", etag) == etag:
            start = int(span[1])
            if start >= len(body):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self.answer(206, body[start:], headers, sent)
        return self.answer(200, body, headers, sent)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
