"""A request names the program and whom to reach about it; a password reaches its own server, and nothing else."""

import base64
import re
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from jgpt_dagster.corpus.fetch import retry
from jgpt_dagster.corpus.fetch.errors import DownloadError
from jgpt_dagster.corpus.fetch.http_client import fetch_text
from jgpt_dagster_tests.support.flaky_server import Fault, Handler, Server, serving

EXPECTED = "Basic " + base64.b64encode(b"me:hush").decode()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.files["/private"] = b"text"
        yield server


def login_needed(handler: Handler, body: bytes) -> None:
    if handler.headers.get("Authorization") == EXPECTED:
        handler.send(body)
    else:
        handler.answer(401, b"who are you?", {"WWW-Authenticate": "Basic"})


def test_the_password_of_a_host_is_taken_from_the_netrc_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.faults.extend([login_needed, login_needed])
    with pytest.raises(DownloadError, match="HTTP 401"):
        fetch_text(server.url("/private"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush\n")
    assert fetch_text(server.url("/private")) == "text"


def test_another_host_gets_no_password_also_when_redirected_to(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush\n")
    elsewhere = server.url("/private").replace("127.0.0.1", "localhost")
    server.faults.append(lambda handler, body: handler.answer(302, b"", {"Location": elsewhere}))
    assert fetch_text(server.url("/private")) == "text"
    first, second = server.requests
    assert first["Authorization"] == EXPECTED
    assert "Authorization" not in second


def test_a_netrc_file_that_cannot_be_read_is_named_and_not_quoted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me word hush\n")
    with pytest.raises(DownloadError, match="netrc file") as caught:
        fetch_text(server.url("/private"))
    assert "hush" not in str(caught.value)


def test_a_request_names_program_contact_and_library(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_CONTACT", "me@example.org")
    fetch_text(server.url("/private"))
    assert re.fullmatch(r"jgpt-dagster/\S+ \(me@example\.org\) python-httpx/\S+", server.requests[0]["User-Agent"])


def test_who_is_turned_away_without_a_contact_is_told_how_to_give_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JGPT_CONTACT", raising=False)
    server.faults.extend([lambda handler, body: handler.answer(403, b"see the policy")] * 2)
    with pytest.raises(DownloadError, match=r"HTTP 403 Forbidden\. .*set JGPT_CONTACT"):
        fetch_text(server.url("/private"))
    monkeypatch.setenv("JGPT_CONTACT", "https://example.org/me")
    with pytest.raises(DownloadError) as caught:
        fetch_text(server.url("/private"))
    assert "JGPT_CONTACT" not in str(caught.value)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 501, 502, 503, 507, 511, 520, 599, 202, 204])
def test_what_may_pass_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    server.faults.append(lambda handler, body: handler.answer(code, b""))
    assert fetch_text(server.url("/private")) == "text"


def too_many_requests(retry_after: str) -> Fault:
    return lambda handler, body: handler.answer(429, b"", {"Retry-After": retry_after})


def test_a_server_may_ask_for_a_pause_between_a_second_and_five_minutes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(retry, "_sleep", pauses.append)
    monkeypatch.setattr(retry, "_MAX_FAILURES", 20)
    asked = ["9", "0", "86400", "9" * 400, formatdate(time.time() + 86400, usegmt=True), formatdate(0, usegmt=True)]
    for text in [*asked, "-5", "soon", "Mon, 01 Jan 0001 00:00:00", "\xb2"]:
        server.faults.append(too_many_requests(text))
    assert fetch_text(server.url("/private")) == "text"
    assert pauses[:6] == [9, 1, 300, 300, 300, 1]
    assert all(1 <= pause <= 300 for pause in pauses)


def test_a_proxy_that_wants_a_password_is_named_and_one_that_fails_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [502, 407]
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    monkeypatch.setattr(
        server.RequestHandlerClass, "do_CONNECT", lambda self: self.answer(codes.pop(0), b"<html>"), raising=False
    )
    monkeypatch.setenv("https_proxy", server.url("").replace("http://", "http://me:hush@"))
    with pytest.raises(DownloadError, match=r"HTTP 407 Proxy Authentication Required\. Set http_proxy") as caught:
        fetch_text("https://mirror.example/dumpstatus.json")
    assert not codes and "hush" not in str(caught.value)
