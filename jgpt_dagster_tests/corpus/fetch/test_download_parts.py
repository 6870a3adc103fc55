"""Nothing that is on disk is given up before an answer is known to be the file, whatever servers and proxies send."""

import errno
import gzip
import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.corpus.fetch import retry
from jgpt_dagster.corpus.fetch.checksums import ExpectedDigests
from jgpt_dagster.corpus.fetch.decompress import BZ2_MAGIC
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.errors import DownloadError
from jgpt_dagster.corpus.fetch.partial_file import PartialFile
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster_tests.support.flaky_server import Fault, Handler, Server, serving
from jgpt_dagster_tests.support.waiting import wait_until

BODY = b"BZh9" + random.Random(8).randbytes(300_000)
OTHER = b"BZh9" + random.Random(9).randbytes(300_000)
HALF = 150_000
ETAG = f'"{hashlib.md5(BODY).hexdigest()}"'
PAGE = b"<!DOCTYPE html><title>Log in</title>"
KNOWN: dict[str, Any] = {"size": len(BODY), "sha1": hashlib.sha1(BODY).hexdigest(), "magic": BZ2_MAGIC}
UNKNOWN: dict[str, Any] = {"magic": BZ2_MAGIC}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    monkeypatch.setattr(retry, "_MAX_FAILURES", 3)
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    with serving() as server:
        server.files["/dump.bz2"] = BODY
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "dump.bz2"


def answer(status: int, body: bytes = b"", **headers: str) -> Fault:
    return lambda handler, _: handler.answer(status, body, {name.replace("_", "-"): v for name, v in headers.items()})


def chunked(body: bytes, status: int = 200, *, cut: bool = False, **headers: str) -> Fault:
    def send(handler: Handler, _: bytes) -> None:
        handler.send_response(status)
        for name, value in {"Transfer-Encoding": "chunked", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) + (b"" if cut else b"0\r\n\r\n"))
        handler.close_connection = True

    return send


def unframed(body: bytes) -> Fault:
    """Send a body that only the end of the connection ends."""

    def send(handler: Handler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        handler.close_connection = True

    return send


def reset(handler: Handler, body: bytes) -> None:
    """Send a few bytes as asked for, then reset the connection."""
    handler.send(body, sent=1000)
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def cut_after(count: int) -> Fault:
    return lambda handler, body: handler.send(body, sent=count)


cut = cut_after(HALF)


def rest_of(body: bytes, first: int = HALF, total: int = len(BODY), **headers: str) -> Fault:
    etag = {"ETag": ETAG, **headers}
    return answer(206, body[HALF:], Content_Range=f"bytes {first}-{len(BODY) - 1}/{total}", **etag)


def lay_half(server: Server, target: Path, expected: dict[str, Any]) -> None:
    """Leave what a download leaves that is cut in the middle."""
    known = ExpectedDigests(expected.get("size"), expected.get("sha1"))
    part = PartialFile(target.with_name("dump.bz2.part"), server.url("/dump.bz2"), known)
    part.begin_response(ETAG, len(BODY))
    part.append(BODY[:HALF])
    part.close()


def ranges(server: Server) -> list[str | None]:
    return [request.get("Range") for request in server.requests]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


NOT_THE_FILE: dict[str, Fault] = {
    "page": answer(200, PAGE, Content_Type="text/html"),
    "page without a type": answer(200, PAGE),
    "page in chunks": chunked(PAGE, Content_Type="text/html; charset=utf-8"),
    "page as long as the file": answer(200, PAGE.ljust(len(BODY))),
    "text": chunked(b"upstream is busy"),
    "json": answer(200, b'{"error": 1}', Content_Type="application/json"),
    "nothing": answer(200),
    "a beginning": answer(200, BODY[:1000]),
    "a beginning in chunks": chunked(BODY[:1000]),
    "accepted": answer(202, PAGE),
    "no content": answer(204),
    "login page behind a redirect": answer(302, Location="/login"),
    "login needed": answer(511, PAGE, Content_Type="text/html"),
    "proxy without password": answer(407, PAGE),
    "bad gateway": answer(502, PAGE, Content_Type="text/html"),
    "too many requests": answer(429, Retry_After="1"),
    **{str(code): answer(code, PAGE) for code in (400, 403, 404, 410, 500, 501, 503, 504, 520, 599)},
    "range from elsewhere": rest_of(BODY, first=HALF - 1),
    "range of a longer file": rest_of(BODY, total=len(BODY) + 1),
    "range of a changed file": rest_of(OTHER, ETag='"changed"', Content_Encoding="gzip"),
    "range of a compressed copy": rest_of(OTHER, Content_Encoding="gzip"),
    "range without a place": answer(206, BODY[HALF:]),
    "several ranges": answer(206, BODY[HALF:], Content_Type="multipart/byteranges; boundary=x"),
    "range that ends before it begins": answer(206, b"x", Content_Range=f"bytes {HALF}-{HALF - 1}/{len(BODY)}"),
    "not satisfiable": answer(416, Content_Range="bytes */1000"),
    "compressed on the way": chunked(gzip.compress(BODY, 1), Content_Encoding="gzip"),
    "compressed page": chunked(gzip.compress(PAGE), Content_Encoding="gzip", Content_Type="text/html"),
    "range that is too long": chunked(
        BODY[HALF:] + PAGE, 206, Content_Range=f"bytes {HALF}-{len(BODY) - 1}/*", ETag=ETAG
    ),
}


@pytest.mark.parametrize("expected", [KNOWN, UNKNOWN], ids=["known hash", "unknown hash"])
@pytest.mark.parametrize("fault", NOT_THE_FILE.values(), ids=NOT_THE_FILE)
def test_a_half_outlives_answers_that_are_not_the_file_and_is_continued(
    server: Server, target: Path, fault: Fault, expected: dict[str, Any]
) -> None:
    lay_half(server, target, expected)
    server.files["/login"] = PAGE
    server.faults.extend(
        [lambda handler, body: fault(handler, body) if handler.path != "/login" else cut(handler, body)] * 9
    )
    with pytest.raises(DownloadError):
        download_file(server.url("/dump.bz2"), target, **expected)
    assert files(target.parent) == ["dump.bz2.part", "dump.bz2.part.json"]
    assert target.with_name("dump.bz2.part").read_bytes() == BODY[:HALF]
    server.faults.clear()
    server.requests.clear()
    download_file(server.url("/dump.bz2"), target, **expected)
    assert target.read_bytes() == BODY
    assert ranges(server) == [f"bytes={HALF}-"] and files(target.parent) == ["dump.bz2"]


def test_a_rest_that_does_not_say_of_which_file_it_is_is_not_appended_without_a_hash(
    server: Server, target: Path
) -> None:
    lay_half(server, target, UNKNOWN)
    server.faults.append(answer(206, OTHER[HALF:], Content_Range=f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}"))
    download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("expected", [KNOWN, UNKNOWN], ids=["known hash", "unknown hash"])
@pytest.mark.parametrize("fault", [reset, chunked(BODY[:HALF], cut=True)], ids=["reset", "cut in a chunk"])
def test_a_connection_that_breaks_is_continued_by_a_range(
    server: Server, target: Path, fault: Fault, expected: dict[str, Any]
) -> None:
    server.faults.extend([cut, fault])
    download_file(server.url("/dump.bz2"), target, **expected)
    assert target.read_bytes() == BODY
    assert all((asked or "").startswith("bytes=") for asked in ranges(server)[1:])


@pytest.mark.parametrize("expected", [KNOWN, UNKNOWN], ids=["known hash", "unknown hash"])
def test_a_server_without_ranges_costs_no_byte_that_is_here(
    server: Server, target: Path, expected: dict[str, Any]
) -> None:
    lay_half(server, target, expected)
    server.faults.extend([lambda handler, _: handler.answer(200, BODY, sent=100_000)] * 2)
    server.faults.append(answer(200, BODY))
    written = target.with_name("dump.bz2.part").stat().st_ino
    download_file(server.url("/dump.bz2"), target, **expected)
    assert target.read_bytes() == BODY and target.stat().st_ino == written


def test_a_label_of_a_compression_that_the_bytes_do_not_have_does_not_matter(server: Server, target: Path) -> None:
    server.faults.append(answer(200, BODY, Content_Encoding="x-bzip2", Content_Type="text/html"))
    download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert target.read_bytes() == BODY and len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "left"), [(answer(200, OTHER), BODY[:HALF]), (rest_of(OTHER), BODY[:HALF])], ids=["whole", "rest"]
)
def test_a_mirror_that_sends_something_else_costs_neither_the_half_nor_the_file(
    server: Server, target: Path, fault: Fault, left: bytes
) -> None:
    lay_half(server, target, KNOWN)
    server.faults.extend([fault, answer(200, OTHER), answer(200, OTHER)])
    with pytest.raises(DownloadError, match=r"its sha1 is .*, twice. .*another mirror"):
        download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert files(target.parent) == ["dump.bz2.part", "dump.bz2.part.json"]
    assert target.with_name("dump.bz2.part").read_bytes() == left
    server.faults.clear()
    server.requests.clear()
    download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert target.read_bytes() == BODY and ranges(server) == [f"bytes={HALF}-"]


def test_a_complete_file_of_another_hash_is_requested_once_more(server: Server, target: Path) -> None:
    server.faults.append(answer(200, OTHER))
    download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert target.read_bytes() == BODY and files(target.parent) == ["dump.bz2"]
    server.requests.clear()
    server.files["/dump.bz2"] = OTHER
    with pytest.raises(DownloadError, match="twice"):
        download_file(server.url("/dump.bz2"), target.with_name("second"), **KNOWN)
    assert len(server.requests) == 2 and files(target.parent) == ["dump.bz2"]


@pytest.mark.parametrize("wrong", [{"sha1": "0" * 40}, {"size": 5}, {"size": len(BODY) + 1}], ids=str)
def test_a_mirror_that_announces_other_sums_costs_no_half(server: Server, target: Path, wrong: dict[str, Any]) -> None:
    lay_half(server, target, KNOWN)
    with pytest.raises(DownloadError):
        download_file(server.url("/dump.bz2"), target, **{**KNOWN, **wrong})
    server.requests.clear()
    download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert target.read_bytes() == BODY and ranges(server) == [f"bytes={HALF}-"]
    assert files(target.parent) == ["dump.bz2"]


def test_a_hash_that_becomes_known_later_does_not_cost_the_half(server: Server, target: Path) -> None:
    lay_half(server, target, UNKNOWN)
    download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert target.read_bytes() == BODY and ranges(server) == [f"bytes={HALF}-"]


def test_a_file_that_changed_replaces_the_half_only_once_it_is_whole(server: Server, target: Path) -> None:
    lay_half(server, target, UNKNOWN)
    changed = BODY[:1000] + OTHER[1000:]
    server.files["/dump.bz2"] = changed
    server.faults.extend([cut, *[answer(503)] * 3])
    with pytest.raises(DownloadError):
        download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.with_name("dump.bz2.part").read_bytes() == BODY[:HALF]
    assert target.with_name("dump.bz2.part.2").read_bytes() == changed[:HALF]
    server.faults.clear()
    server.requests.clear()
    download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.read_bytes() == changed
    assert ranges(server) == [f"bytes={HALF}-"] and files(target.parent) == ["dump.bz2"]


def test_a_file_that_keeps_changing_is_given_up_with_what_is_here(server: Server, target: Path) -> None:
    lay_half(server, target, UNKNOWN)

    def another(handler: Handler, _: bytes) -> None:
        handler.answer(200, BZ2_MAGIC + random.Random(len(server.requests)).randbytes(2_000_000), sent=1_900_000)

    server.faults.extend([another] * 9)
    with pytest.raises(DownloadError, match="changed 4 times"):
        download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.with_name("dump.bz2.part").read_bytes() == BODY[:HALF]
    assert len(server.requests) == 4


def test_an_end_that_may_be_a_cut_is_asked_about(server: Server, target: Path) -> None:
    server.faults.append(unframed(BODY[:HALF]))
    server.validators = False
    download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.read_bytes() == BODY
    server.faults.extend([unframed(BODY), unframed(BODY)])
    download_file(server.url("/dump.bz2"), target.with_name("again"), **UNKNOWN)
    assert target.with_name("again").read_bytes() == BODY and not server.faults


def test_a_complete_file_of_another_type_is_requested_once_more_and_never_gets_the_name(
    server: Server, target: Path
) -> None:
    def no_whole_file(path: Path) -> None:
        if path.stat().st_size != len(BODY):
            raise JgptError(f"{path} is cut short")

    server.faults.append(answer(200, BODY[:HALF]))
    download_file(server.url("/dump.bz2"), target, verify=no_whole_file)
    assert target.read_bytes() == BODY
    server.files["/dump.bz2"] = BODY[:HALF]
    with pytest.raises(DownloadError, match="is cut short, twice"):
        download_file(server.url("/dump.bz2"), target, verify=no_whole_file)
    assert target.read_bytes() == BODY
    assert files(target.parent) == ["dump.bz2", "dump.bz2.part", "dump.bz2.part.json"]
    server.files["/dump.bz2"] = BODY
    server.requests.clear()
    download_file(server.url("/dump.bz2"), target, verify=no_whole_file)
    assert target.read_bytes() == BODY and files(target.parent) == ["dump.bz2"]


def test_more_parts_than_there_is_room_for_cost_the_smallest(server: Server, target: Path) -> None:
    for number, sha1 in enumerate(("1", "2", "3", "4")):
        server.faults.extend([cut_after(9000 - number), *[answer(503)] * 2])
        with pytest.raises(DownloadError):
            download_file(server.url("/dump.bz2"), target, sha1=sha1 * 40)
    server.faults.extend([cut, *[answer(503)] * 2])
    with pytest.raises(DownloadError):
        download_file(server.url("/dump.bz2"), target, **KNOWN)
    sizes = [path.stat().st_size for path in target.parent.glob("*.part*") if path.suffix != ".json"]
    assert sorted(sizes) == [8998, 8999, 9000, HALF]


def test_a_part_of_an_earlier_version_is_continued(server: Server, target: Path) -> None:
    target.with_name("dump.bz2.part").write_bytes(BODY[:HALF])
    record = {"size": KNOWN["size"], "sha1": KNOWN["sha1"], "sha256": None}
    target.with_name("dump.bz2.part.json").write_text(json.dumps(record))
    download_file(server.url("/dump.bz2"), target, **KNOWN)
    assert target.read_bytes() == BODY and ranges(server) == [f"bytes={HALF}-"]


def test_a_disk_that_fills_up_while_a_changed_file_is_written_costs_no_half(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_half(server, target, UNKNOWN)
    server.files["/dump.bz2"] = OTHER
    append = PartialFile.append

    def full(part: PartialFile, data: bytes) -> None:
        if part.size + len(data) > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(part, data)

    monkeypatch.setattr(PartialFile, "append", full)
    with pytest.raises(DiskFullError, match=r"dump\.bz2\.part\.2: the disk is full"):
        download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.with_name("dump.bz2.part").read_bytes() == BODY[:HALF]
    monkeypatch.undo()
    download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.read_bytes() == OTHER and files(target.parent) == ["dump.bz2"]


@pytest.mark.parametrize("changed", [False, True], ids=["same file", "changed file"])
def test_a_process_that_is_killed_midway_loses_nothing(server: Server, target: Path, changed: bool) -> None:
    lay_half(server, target, UNKNOWN)
    body = server.files["/dump.bz2"] = OTHER if changed else BODY
    part = target.with_name("dump.bz2.part.2" if changed else "dump.bz2.part")

    def hang(handler: Handler, body: bytes) -> None:
        handler.send(body, sent=200_000 if changed else 50_000)
        handler.wfile.flush()
        wait_until(lambda: not child.is_alive(), 30)

    server.faults.append(hang)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=download_file, args=(server.url("/dump.bz2"), target), kwargs=UNKNOWN)
    child.start()
    assert child.pid
    wait_until(lambda: part.exists() and part.stat().st_size == 200_000, 30)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert target.with_name("dump.bz2.part").read_bytes()[:HALF] == BODY[:HALF]
    server.requests.clear()
    download_file(server.url("/dump.bz2"), target, **UNKNOWN)
    assert target.read_bytes() == body
    assert ranges(server) == ["bytes=200000-"] and files(target.parent) == ["dump.bz2"]
