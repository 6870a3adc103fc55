"""Redirects lead to no private address, slow servers are given up, and nothing a server says reaches a message."""

import json
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore
import pytest

from jgpt_dagster.corpus.fetch import download, http_client, network_guard, retry
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror, MirrorError
from jgpt_dagster.corpus.fetch.errors import DownloadError
from jgpt_dagster.corpus.fetch.http_client import fetch_json, fetch_text, open_client, post_json, shown
from jgpt_dagster.corpus.fetch.network_guard import AddressGuard, ForbiddenAddressError
from jgpt_dagster_tests.support.flaky_server import Fault, Handler, Server, serving

PUBLIC = "93.184.216.34"
TOKEN = "hush-token"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    with serving() as server:
        server.files["/text"] = b"text"
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names, in the order in which a resolver gives them; a connection to PUBLIC reaches loopback."""
    found: dict[str, list[str]] = {}
    resolve, connect = socket.getaddrinfo, httpcore.SyncBackend.connect_tcp

    def lookup(host: str, port: int, *rest: Any, **options: Any) -> Any:
        address = found[host].pop(0) if host in found else host
        return resolve(address, port, *rest, **options)

    def reach(self: Any, host: str, *rest: Any) -> Any:
        return connect(self, "127.0.0.1" if host == PUBLIC else host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", reach)
    return found


def redirect(location: str) -> Fault:
    return lambda handler, body: handler.answer(302, b"", {"Location": location})


def at(server: Server, host: str, path: str = "/text") -> str:
    return f"http://{host}:{server.server_port}{path}"


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_a_public_server_cannot_redirect_to_a_private_address(
    server: Server, names: dict[str, list[str]], target: str
) -> None:
    names["mirror.example"] = [PUBLIC]
    server.faults.append(redirect(at(server, target, f"/text?{TOKEN}")))
    with pytest.raises(DownloadError, match=r"a redirect leads .*(private|link-local)") as caught:
        fetch_text(at(server, "mirror.example"))
    assert len(server.requests) == 1
    assert TOKEN not in str(caught.value)


def test_a_name_that_resolves_to_a_private_address_is_refused_when_the_connection_is_made(
    server: Server, names: dict[str, list[str]]
) -> None:
    names["mirror.example"] = [PUBLIC, "127.0.0.1"]
    names["elsewhere.example"] = ["127.0.0.1"]
    server.faults.append(redirect(at(server, "elsewhere.example")))
    with pytest.raises(DownloadError, match="private"):
        fetch_text(at(server, "mirror.example"))
    names["mirror.example"] = [PUBLIC, "127.0.0.1"]
    server.faults.append(redirect(at(server, "mirror.example", "/again")))
    with pytest.raises(DownloadError, match="private"):
        fetch_text(at(server, "mirror.example"))
    assert len(server.requests) == 2


def test_a_way_through_a_public_address_does_not_lead_back_to_a_private_one(
    server: Server, names: dict[str, list[str]]
) -> None:
    names["public.example"] = [PUBLIC]
    server.faults.extend([redirect(at(server, "public.example")), redirect(at(server, "127.0.0.1"))])
    with pytest.raises(DownloadError, match="private"):
        fetch_text(at(server, "127.0.0.1"))


def test_a_mirror_on_a_private_address_may_redirect_to_another_but_not_to_a_link_local_one(
    server: Server, names: dict[str, list[str]]
) -> None:
    server.faults.append(redirect(at(server, "localhost")))
    assert fetch_text(at(server, "127.0.0.1", "/moved")) == "text"
    for address in ("169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16"):
        server.faults.append(redirect(at(server, address, "/latest/meta-data")))
        with pytest.raises(DownloadError, match="link-local"):
            fetch_text(at(server, "127.0.0.1", "/moved"))


def test_a_public_mirror_may_redirect_to_another_public_one(server: Server, names: dict[str, list[str]]) -> None:
    names["one.example"], names["other.example"] = [PUBLIC], [PUBLIC]
    server.faults.append(redirect(at(server, "other.example")))
    assert fetch_text(at(server, "one.example", "/moved")) == "text"


def test_behind_a_proxy_an_address_that_a_redirect_writes_out_is_checked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url("").rstrip("/"))
    server.files["http://mirror.example/text"] = b"text"
    assert fetch_text("http://mirror.example/text") == "text"
    server.faults.append(redirect("http://2130706433/text"))
    with pytest.raises(DownloadError, match="private"):
        fetch_text("http://mirror.example/text")


def test_https_is_verified_by_name_and_not_left_for_http(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = server.url(f"/text?{TOKEN}")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", *options, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        secure.files["/text"] = b"text"
        port = secure.server_port
        assert fetch_text(f"https://localhost:{port}/text") == "text"
        secure.faults.append(redirect(f"https://localhost:{port}/text"))
        assert fetch_text(f"https://localhost:{port}/moved") == "text"
        secure.faults.append(redirect(plain))
        with pytest.raises(DownloadError, match="redirects from https to http") as caught:
            fetch_text(f"https://localhost:{port}/moved?secret")
        assert TOKEN not in str(caught.value) and "secret" not in str(caught.value)
        with pytest.raises(DownloadError, match="certificate verify failed"):
            fetch_text(f"https://127.0.0.1:{port}/text")
    assert server.requests == []


def test_a_circle_of_redirects_ends(server: Server) -> None:
    server.faults.extend([redirect(server.url("/text"))] * 50)
    with pytest.raises(DownloadError, match="redirects more than 10 times"):
        fetch_text(server.url("/text"))
    assert len(server.requests) == 11


def test_a_guard_checks_only_what_answers_say() -> None:
    guard = AddressGuard()
    guard.require_allowed("169.254.169.254")
    guard.visited(PUBLIC)
    guard.redirect()
    guard.require_allowed("2606:2800:220:1::1")
    with pytest.raises(ForbiddenAddressError):
        guard.require_allowed("10.1.2.3")
    guard.start()
    guard.require_allowed("10.1.2.3")


def test_a_token_of_a_redirect_reaches_no_log_no_error_and_no_record(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        caplog.set_level(logging.DEBUG, logger=name)
    secret = server.url(f"/signed?token={TOKEN}").replace("http://", f"http://user:{TOKEN}@")

    def cut(handler: Handler, body: bytes) -> None:
        handler.send(bytes(2_000_000), sent=1_500_000)

    server.faults.extend([redirect(secret), cut, *[redirect(secret), lambda h, b: h.answer(500, TOKEN.encode())] * 9])
    with pytest.raises(DownloadError) as caught:
        download_file(server.url("/dump?token=own-" + TOKEN), tmp_path / "dump", sha1="0" * 40)
    server.faults.extend([redirect(secret), lambda h, b: h.answer(404, TOKEN.encode())])
    with pytest.raises(DownloadError) as missing:
        fetch_text(server.url("/dump"))
    record = (tmp_path / "dump.part.json").read_text()
    assert caplog.text and len(server.requests) > 10
    for text in (caplog.text, str(caught.value), str(missing.value), record, repr(caught.value.__context__)):
        assert TOKEN not in text


def raw_answer(text: bytes) -> Fault:
    def answer(handler: Handler, body: bytes) -> None:
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 418 \x1b[2J" + TOKEN.encode() + b"x" * 1000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 799 " + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n",
        TOKEN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + TOKEN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + TOKEN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + TOKEN.encode() + b"\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[" + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: gopher://" + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"a": ' + TOKEN.encode() + b"        ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + TOKEN.encode() + b"\xff",
    ],
    ids=range(10),
)
def test_no_error_holds_what_a_server_said(server: Server, answer: bytes) -> None:
    server.faults.extend([raw_answer(answer)] * 10)
    with pytest.raises(DownloadError) as caught:
        fetch_json(server.url("/text"))
    message = str(caught.value)
    assert TOKEN not in message and len(message) < 500
    assert message.isprintable()


def test_no_error_about_a_dump_holds_what_the_mirror_said(server: Server) -> None:
    status = {"status": f"\x1b]0;{TOKEN}\x07", "updated": TOKEN * 100, "files": {}}
    server.files["/jawiki/20250801/dumpstatus.json"] = json.dumps(
        {"jobs": {"articlesmultistreamdump": status}}
    ).encode()
    with pytest.raises(MirrorError) as caught:
        DumpMirror(server.url(""), "jawiki").files("20250801")
    assert TOKEN not in str(caught.value) and str(caught.value).isprintable()


def test_a_url_is_shown_without_secrets_and_control_characters() -> None:
    assert shown("https://me:pw@example.org/a/b?token=x#y") == "https://example.org/a/b"
    assert shown("http://example.org/\x1b[2J") == "http://example.org/\N{REPLACEMENT CHARACTER}[2J"
    assert len(shown("http://example.org/" + "x" * 10_000)) == 500


def drip(head: bytes, part: bytes) -> Fault:
    """Send the head of an answer and then a few bytes at a time, until the client has gone."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.wfile.write(head)
        while True:
            handler.wfile.write(part)
            handler.wfile.flush()
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    ],
    ids=["body", "headers", "framing"],
)
def test_a_server_that_sends_too_slowly_is_given_up_and_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, part: bytes
) -> None:
    monkeypatch.setattr(network_guard, "_WINDOW_SECONDS", 0.15)
    server.faults.append(drip(head, part))
    download_file(server.url("/text"), tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == b"text"
    assert len(server.requests) >= 2


def interim(handler: Handler, body: bytes) -> None:
    for _ in range(200_000):
        handler.wfile.write(b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" * 100)


def frames(handler: Handler, body: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100_000):
        handler.wfile.write(b"1;" + b"x" * 10_000 + b"\r\nx\r\n")


@pytest.mark.parametrize("answer", [interim, frames])
def test_an_answer_that_is_no_content_is_given_up_however_fast_it_comes(server: Server, answer: Fault) -> None:
    server.faults.append(answer)
    assert fetch_text(server.url("/text")) == "text"
    assert len(server.requests) == 2


def endless(handler: Handler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        endless,
        lambda handler, body: handler.answer(200, b"x", {"Content-Length": "2000000"}),
        lambda handler, body: handler.answer(200, bytes(2_000_000)),
    ],
    ids=["no size", "announced", "sent"],
)
def test_a_download_has_a_ceiling_also_if_no_size_is_known(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Fault
) -> None:
    monkeypatch.setattr(download, "MAX_FILE_BYTES", 1_000_000)
    server.faults.append(answer)
    with pytest.raises(DownloadError, match="limit of 1,000,000"):
        download_file(server.url("/dump"), tmp_path / "dump")
    assert list(tmp_path.iterdir()) == []


def test_a_rest_that_is_longer_than_its_range_says_is_not_stored(server: Server, tmp_path: Path) -> None:
    body = bytes(300_000)

    def longer(handler: Handler, _: bytes) -> None:
        handler.answer(206, bytes(900_000), {"Content-Range": "bytes 100000-299999/300000"})

    server.files["/dump"] = body
    server.faults.extend([lambda handler, _: handler.send(body, sent=100_000), *[longer] * 6])
    with pytest.raises(DownloadError, match="longer than the expected 300,000 bytes"):
        download_file(server.url("/dump"), tmp_path / "dump", sha1="0" * 40)
    assert (tmp_path / "dump.part").stat().st_size == 100_000


def test_sizes_and_validators_of_any_length_do_no_harm(server: Server, tmp_path: Path) -> None:
    def huge(handler: Handler, body: bytes) -> None:
        handler.answer(206, b"", {"Content-Range": f"bytes 2-3/{'9' * 5000}"})

    def first(handler: Handler, body: bytes) -> None:
        handler.answer(200, b"text", {"ETag": '"' + "x" * 5000 + '"'}, sent=2)

    server.faults.append(first)
    download_file(server.url("/text"), tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == b"text"
    server.faults.extend([lambda handler, body: handler.send(body, sent=2), huge])
    with pytest.raises(DownloadError, match="its sha1 is"):
        download_file(server.url("/text"), tmp_path / "other", sha1="0" * 40)


def test_a_webhook_is_posted_again_where_it_moved_and_only_its_status_comes_back(server: Server) -> None:
    received: list[tuple[str, bytes]] = []

    def post(handler: Handler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        received.append((handler.path, body))
        moved = handler.path == "/hook"
        handler.answer(307 if moved else 200, b"answer", {"Location": "/moved"} if moved else {})

    handler_class: Any = server.RequestHandlerClass
    handler_class.do_POST = post
    try:
        with open_client() as client:
            assert post_json(client, server.url("/hook"), {"a": 1}, 5) == 200
    finally:
        del handler_class.do_POST
    assert received == [("/hook", b'{"a":1}'), ("/moved", b'{"a":1}')]


def test_several_threads_keep_apart_what_they_do_not_log(server: Server) -> None:
    results: list[bool] = []
    fetch: Callable[[], str] = lambda: fetch_text(server.url("/text"))  # noqa: E731
    threads = [threading.Thread(target=lambda: results.append(fetch() == "text")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4 and http_client._in_request.get() is False
