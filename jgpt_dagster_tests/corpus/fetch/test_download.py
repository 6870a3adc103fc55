import errno
import hashlib
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from jgpt_dagster.corpus.fetch import retry
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.errors import DownloadError
from jgpt_dagster.corpus.fetch.http_client import fetch_json, fetch_text
from jgpt_dagster.corpus.fetch.partial_file import PartialFile
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster.storage.file_creation import LinkedPathError
from jgpt_dagster_tests.support.flaky_server import Handler, Server, serving

BODY = random.Random(7).randbytes(3_000_000)
SHA1 = hashlib.sha1(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.files["/dump.bz2"] = BODY
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for, which are not made."""
    pauses: list[float] = []
    monkeypatch.setattr(retry, "_sleep", pauses.append)
    return pauses


def cut_after(count: int):
    return lambda handler, body: handler.send(body, sent=count)


def status(code: int, **headers: str):
    return lambda handler, body: handler.answer(code, b"", {name.replace("_", "-"): v for name, v in headers.items()})


def ranges(server: Server) -> list[str | None]:
    return [request.get("Range") for request in server.requests]


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_arrives_whole_and_alone(server, tmp_path):
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "dump.bz2"
    entry = download_file(
        server.url("/dump.bz2"), target, size=len(BODY), sha1=SHA1.upper(), on_progress=lambda *done: seen.append(done)
    )
    assert target.read_bytes() == BODY
    assert (entry.size, entry.sha256) == (len(BODY), SHA256)
    assert files(target.parent) == ["dump.bz2"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert server.requests[0]["User-Agent"].startswith("jgpt-dagster/")


def test_a_file_that_is_there_with_the_right_hash_is_not_asked_for_again(server, tmp_path):
    target = tmp_path / "dump.bz2"
    target.write_bytes(BODY)
    assert download_file(server.url("/dump.bz2"), target, sha1=SHA1).sha256 == SHA256
    assert server.requests == []


def test_a_cut_connection_goes_on_where_it_stopped(server, tmp_path, waits):
    server.faults.extend([cut_after(1_200_000), cut_after(700_000)])
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", size=len(BODY), sha1=SHA1)
    assert (tmp_path / "dump.bz2").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=1200000-", "bytes=1900000-"]
    assert len(waits) == 2


def test_a_file_of_known_hash_goes_on_from_another_host_of_the_mirror_or_another_mirror(server, tmp_path, waits):
    def other_host(handler: Handler, body: bytes) -> None:
        span = {"Content-Range": f"bytes 1000000-{len(body) - 1}/{len(body)}", "ETag": '"of this host"'}
        handler.answer(206, body[1_000_000:], span, sent=500_000)

    server.faults.extend([cut_after(1_000_000), other_host, *[status(503)] * 20])
    with pytest.raises(DownloadError, match="attempts"):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    server.faults.clear()
    server.files["/mirror/dump.bz2"] = BODY
    download_file(server.url("/mirror/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert ranges(server)[1] == "bytes=1000000-" and ranges(server)[-1] == "bytes=1500000-"
    assert "If-Range" not in server.requests[1]
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


def test_a_file_of_unknown_hash_goes_on_only_while_it_is_the_same_on_the_server(server, tmp_path, waits):
    server.faults.append(cut_after(1_200_000))
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", size=len(BODY))
    assert ranges(server) == [None, "bytes=1200000-"]
    assert server.requests[1]["If-Range"]


def test_the_next_call_goes_on_with_what_a_dead_one_left(server, tmp_path, waits):
    server.faults.extend([cut_after(1_000_000), *[status(503)] * 20])
    with pytest.raises(DownloadError, match="attempts"):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert files(tmp_path) == ["dump.bz2.part", "dump.bz2.part.json"]
    server.faults.clear()
    server.requests.clear()
    assert download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1).sha256 == SHA256
    assert ranges(server) == ["bytes=1000000-"]
    assert files(tmp_path) == ["dump.bz2"]


def test_a_part_of_another_file_is_not_gone_on_with(server, tmp_path, waits):
    server.faults.extend([cut_after(1_000_000), *[status(503)] * 20])
    with pytest.raises(DownloadError):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    server.faults.clear()
    server.requests.clear()
    server.files["/other.bz2"] = BODY[::-1]
    download_file(server.url("/other.bz2"), tmp_path / "dump.bz2")
    assert ranges(server) == [None]
    assert (tmp_path / "dump.bz2").read_bytes() == BODY[::-1]


def test_a_file_that_changes_on_the_server_is_begun_anew(server, tmp_path, waits):
    changed = BODY[::-1]

    def change(handler: Handler, body: bytes) -> None:
        handler.send(body, sent=1_000_000)
        handler.server.files["/dump.bz2"] = changed

    server.faults.append(change)
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2")
    assert (tmp_path / "dump.bz2").read_bytes() == changed


def test_a_range_of_a_changed_file_is_not_mixed_in_even_if_the_server_ignores_if_range(server, tmp_path, waits):
    def rest_of_another(handler: Handler, body: bytes) -> None:
        rest = body[::-1][1_000_000:]
        span = {"Content-Range": f"bytes 1000000-{len(body) - 1}/{len(body)}", "ETag": '"new"'}
        handler.answer(206, rest, span)

    server.faults.extend([cut_after(1_000_000), rest_of_another])
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2")
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


def test_without_hash_and_validator_a_rest_is_not_trusted(server, tmp_path, waits):
    server.validators = False
    server.faults.append(cut_after(1_000_000))
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2")
    assert ranges(server) == [None, None]
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


def test_a_server_without_ranges_is_begun_anew(server, tmp_path, waits):
    server.faults.extend([cut_after(1_000_000), lambda handler, body: handler.answer(200, body)])
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


@pytest.mark.parametrize("content_range", ["bytes 5-2999999/3000000", "nonsense", ""])
def test_a_wrong_range_is_not_appended(server, tmp_path, waits, content_range):
    wrong = lambda handler, body: handler.answer(206, body[5:], {"Content-Range": content_range})  # noqa: E731
    server.faults.extend([cut_after(1_000_000), wrong])
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


def test_a_part_that_is_whole_already_is_only_verified(server, tmp_path, waits):
    def whole_and_then_silence(handler: Handler, body: bytes) -> None:
        handler.answer(200, body, {"Content-Length": str(len(body) + 1), "ETag": '"x"'}, sent=len(body))

    # Content-Length is one too many: all bytes came, but the connection seemed cut. The rest is an empty range: 416.
    server.faults.extend(
        [whole_and_then_silence, lambda handler, body: handler.answer(416, b"", {"Content-Range": "bytes */3000000"})]
    )
    assert download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1).sha256 == SHA256
    assert ranges(server) == [None, "bytes=3000000-"]


def test_an_unexpected_416_begins_anew(server, tmp_path, waits):
    server.faults.extend([cut_after(1_000_000), status(416)])
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert ranges(server) == [None, "bytes=1000000-", None]


def test_errors_of_the_server_are_waited_out_as_long_as_it_asks(server, tmp_path, waits):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.faults.extend([status(503, Retry_After="7"), status(429, Retry_After=soon), status(500)])
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert waits[0] == 7
    assert 25 <= waits[1] <= 30
    assert waits[2] == 4


def test_it_gives_up_naming_url_attempts_and_reason(server, tmp_path, waits):
    server.faults.extend([status(503)] * 20)
    with pytest.raises(DownloadError, match=r"dump\.bz2: gave up after 6 attempts; the last one: HTTP 503.*run"):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2")
    assert files(tmp_path) == []


def test_a_long_download_survives_more_cuts_than_attempts_while_it_moves_on(server, tmp_path, waits):
    server.files["/long"] = BODY * 4
    server.faults.extend([cut_after(1_100_000)] * 10)
    download_file(server.url("/long"), tmp_path / "long")
    assert (tmp_path / "long").read_bytes() == BODY * 4


def test_a_host_that_is_not_there_is_a_clear_error(tmp_path, waits):
    with serving() as server:
        url = server.url("/dump.bz2")
    with pytest.raises(DownloadError, match="gave up after 6 attempts; the last one: ConnectError"):
        download_file(url, tmp_path / "dump.bz2")


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path, waits):
    with pytest.raises(DownloadError, match=r"/absent: HTTP 404"):
        download_file(server.url("/absent"), tmp_path / "absent")
    assert (len(server.requests), waits, files(tmp_path)) == (1, [], [])


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"sha1": "0" * 40}, f"its sha1 is {SHA1}, expected {'0' * 40}"),
        ({"sha256": "0" * 64}, f"its sha256 is {SHA256}"),
        ({"size": len(BODY) + 1}, "has 3,000,000 bytes, expected 3,000,001"),
        ({"size": len(BODY) - 1}, "has 3,000,000 bytes, expected 2,999,999"),
    ],
)
def test_a_file_that_is_not_the_announced_one_never_gets_its_name(server, tmp_path, waits, expected, found):
    with pytest.raises(DownloadError, match=found):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", **expected)
    assert files(tmp_path) == []


def test_bytes_beyond_the_expected_size_are_not_stored(server, tmp_path, waits):
    def endless(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    server.faults.extend([endless] * 6)
    with pytest.raises(DownloadError, match="longer than the expected 100,000 bytes"):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", size=100_000)
    assert files(tmp_path) == []


def test_a_damaged_part_is_found_out_and_the_whole_file_requested_once_more(server, tmp_path, waits):
    server.faults.extend([cut_after(1_000_000), *[status(503)] * 20])
    with pytest.raises(DownloadError):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    server.faults.clear()
    server.requests.clear()
    with open(tmp_path / "dump.bz2.part", "r+b") as part:
        part.write(b"damage")
    assert download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1).sha256 == SHA256
    assert ranges(server) == ["bytes=1000000-", None]
    assert files(tmp_path) == ["dump.bz2"]


@pytest.mark.parametrize("plant", [os.symlink, os.link], ids=["symbolic", "hard"])
@pytest.mark.parametrize("name", ["dump.bz2.part", "dump.bz2.part.json", "dump.bz2", ".dump.bz2.part.json.tmp"])
def test_a_link_that_waits_where_a_download_is_written_is_replaced_and_its_file_left_alone(
    server, tmp_path, waits, plant, name
):
    victim, folder = tmp_path / "victim", tmp_path / "incoming"
    victim.write_bytes(b"theirs")
    folder.mkdir()
    plant(victim, folder / name)
    server.faults.append(cut_after(1_000_000))
    download_file(server.url("/dump.bz2"), folder / "dump.bz2", sha1=SHA1)
    assert victim.read_bytes() == b"theirs"
    assert files(folder) == ["dump.bz2"]
    assert (folder / "dump.bz2").read_bytes() == BODY and not (folder / "dump.bz2").is_symlink()


def test_a_fifo_at_the_name_of_a_part_does_not_hold_up_the_download(server, tmp_path):
    os.mkfifo(tmp_path / "dump.bz2.part")
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


def test_a_folder_of_downloads_that_is_a_link_is_refused(server, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "incoming").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkedPathError, match="incoming is a link"):
        download_file(server.url("/dump.bz2"), tmp_path / "incoming" / "dump.bz2", sha1=SHA1)
    assert files(tmp_path / "elsewhere") == []


def test_redirects_lead_to_http_alone(server, tmp_path):
    server.faults.append(status(302, Location=server.url("/dump.bz2")))
    assert download_file(server.url("/moved"), tmp_path / "dump.bz2", sha1=SHA1).sha256 == SHA256
    server.faults.append(status(302, Location="file:///etc/passwd"))
    with pytest.raises(DownloadError, match="Only http and https are followed"):
        download_file(server.url("/moved"), tmp_path / "passwd")
    assert not (tmp_path / "passwd").exists()


def test_a_download_that_does_not_fit_the_disk_is_refused_before_it_begins(server, tmp_path):
    server.faults.append(lambda handler, _: handler.answer(200, b"x", {"Content-Length": str(1 << 60)}, sent=1))
    with pytest.raises(DiskFullError, match=r"dump\.bz2"):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2")
    with pytest.raises(DiskFullError):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", size=1 << 60)
    assert len(server.requests) == 1


def test_on_a_disk_that_fills_up_what_came_is_kept(server, tmp_path, monkeypatch, waits):
    append = PartialFile.append

    def full(part: PartialFile, data: bytes) -> None:
        if part.size + len(data) > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(part, data)

    monkeypatch.setattr(PartialFile, "append", full)
    with pytest.raises(DiskFullError, match=r"dump\.bz2\.part: the disk is full"):
        download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    monkeypatch.undo()
    download_file(server.url("/dump.bz2"), tmp_path / "dump.bz2", sha1=SHA1)
    assert (ranges(server)[1] or "").startswith("bytes=")
    assert (tmp_path / "dump.bz2").read_bytes() == BODY


def test_a_file_url_is_linked_not_copied(tmp_path):
    source = tmp_path / "日本語 と#100%.bz2"
    source.write_bytes(BODY)
    target = tmp_path / "data" / "dump.bz2"
    for _ in range(2):
        entry = download_file(source.as_uri(), target, size=len(BODY), sha1=SHA1)
        assert target.samefile(source)
        assert entry.sha256 == SHA256
        assert files(target.parent) == ["dump.bz2"]


def test_where_a_hard_link_is_not_possible_a_symbolic_one_is_made(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "source").write_bytes(BODY)
    target = tmp_path / "data" / "dump.bz2"
    download_file((tmp_path / "source").as_uri(), target, sha1=SHA1)
    assert target.is_symlink() and target.readlink().is_absolute() and target.read_bytes() == BODY


def test_a_file_url_is_verified_too(tmp_path):
    (tmp_path / "source").write_bytes(BODY[:-1])
    with pytest.raises(DownloadError, match="sha1"):
        download_file((tmp_path / "source").as_uri(), tmp_path / "target", sha1=SHA1)
    assert files(tmp_path) == ["source"]


@pytest.mark.parametrize("url", ["file:///no/such/file", "ftp://host/x", "file://host/x", "/bare/path", "file:///a?b"])
def test_a_url_that_names_no_file_is_a_clear_error(tmp_path, url):
    with pytest.raises(DownloadError, match=r"there is no file|cannot be fetched"):
        download_file(url, tmp_path / "target")
    assert files(tmp_path) == []


def test_small_documents_are_bounded_and_retried(server, waits):
    server.files["/a.json"] = '{"名": 1}'.encode()
    server.faults.extend([status(503), cut_after(3)])
    assert fetch_json(server.url("/a.json")) == {"名": 1}
    assert len(waits) == 2
    with pytest.raises(DownloadError, match="larger than 5 bytes"):
        fetch_text(server.url("/a.json"), limit_bytes=5)
    server.files["/a.json"] = b"<html>\xe6\x97\xa5</html>"
    with pytest.raises(DownloadError, match=r"is not JSON: character 0 of 14") as caught:
        fetch_json(server.url("/a.json"))
    assert "html" not in str(caught.value)
    server.files["/a.json"] = b"\xff"
    with pytest.raises(DownloadError, match="not UTF-8"):
        fetch_text(server.url("/a.json"))
    server.files["/a.json"] = b"[" * 100_000
    with pytest.raises(DownloadError, match="is not JSON"):
        fetch_json(server.url("/a.json"))
