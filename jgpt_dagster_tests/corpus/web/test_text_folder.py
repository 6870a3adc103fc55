"""A folder of text files as a corpus: what counts as a document, what is refused and why, and damage that is found."""

import gzip
import json
import lzma
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.corpus.fetch.decompress import DamagedFileError
from jgpt_dagster.corpus.web.text_folder import TextFolder, TextFolderError, folder_fingerprint


def read(path: Path, limit_bytes: int = 1 << 20) -> tuple[list[tuple[int, list[str]]], list[dict[str, Any]]]:
    rejected: list[dict[str, Any]] = []
    rows = TextFolder.open(path).documents(rejected, limit_bytes=limit_bytes)
    return [(document_id, lines) for document_id, lines, *_ in rows], rejected


def test_documents_are_numbered_in_the_order_of_the_files_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_bytes("\ufeff一行目\r\n\r\n二行目\u2028の続き\n".encode())
    records = "".join(json.dumps({"text": text, "url": "x"}) + "\n\n" for text in ("甲\n乙", "丙"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(records.encode()))
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress("丁".encode()))
    (tmp_path / "README.md").write_text("no text of the corpus")
    documents = [(0, ["甲", "乙"]), (1, ["丙"]), (2, ["一行目", "二行目\u2028の続き"]), (3, ["丁"])]
    assert read(tmp_path) == (documents, [])
    assert TextFolder.open(tmp_path).skipped_files == 1


def test_what_cannot_be_taken_keeps_its_number_and_is_named_with_its_reason(tmp_path: Path) -> None:
    lines = [
        b'{"text": "' + b"x" * 200 + b'"}',
        b"[" * 150,
        b'{"text": 1}',
        b'{"text": "\\ud800"}',
        b'{"text": "good"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "b.txt").write_bytes(b"\xff")
    (tmp_path / "c.txt").write_bytes(b"\n\n")
    (tmp_path / "d.txt").write_bytes(b"x" * 201)
    documents, rejected = read(tmp_path, limit_bytes=200)
    assert documents == [(4, ["good"])]
    assert [row["document_id"] for row in rejected] == [0, 1, 2, 3, 5, 6, 7]
    reasons = [row["reason"] for row in rejected]
    assert reasons[0] == "a.jsonl, line 1: it has more than 200 bytes"
    assert reasons[1] == "a.jsonl, line 2: it is no JSON object with a string `text`"
    assert "surrogates not allowed" in reasons[3]
    assert reasons[5] == "c.txt: it has no text"
    assert reasons[6] == "d.txt: it has more than 200 bytes"


def test_a_line_says_where_its_document_comes_from(tmp_path: Path) -> None:
    full = {"url": "https://example.org/1?a=b#c", "license": "CC BY 4.0", "date": "2024-02-30", "id": "記事-1"}
    odd = {"url": ["x"], "license": None, "date": 20240101, "id": 12345678901234567890}
    worse = {"url": "\ud800", "license": "", "date": 1.5, "id": True}
    lines = [{**origin, "text": "文"} for origin in (full, odd, worse, {})]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "b.txt").write_text("文")
    nothing = (None, None, None, None)
    assert list(TextFolder.open(tmp_path).documents([])) == [
        (0, ["文"], *full.values()),
        (1, ["文"], None, None, "20240101", "12345678901234567890"),
        (2, ["文"], *nothing),
        (3, ["文"], *nothing),
        (4, ["文"], *nothing),
    ]


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"[" * 1_000_000)
    assert read(tmp_path)[1][0]["reason"].endswith("it is no JSON object with a string `text`")


@pytest.mark.parametrize(("name", "compress"), [("a.txt.gz", gzip.compress), ("a.jsonl.xz", lzma.compress)])
def test_a_file_that_is_cut_is_named(tmp_path: Path, name: str, compress: Any) -> None:
    whole = compress(os.urandom(4000).hex().encode())
    (tmp_path / name).write_bytes(whole[:-100])
    with pytest.raises(DamagedFileError, match=name):
        read(tmp_path)


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextFolderError, match=r"missing: No such file or directory"):
        TextFolder.open(tmp_path / "missing")
    (tmp_path / "README.md").write_text("no text of the corpus")
    with pytest.raises(TextFolderError, match=r"\.txt, \.txt\.gz"):
        TextFolder.open(tmp_path)


@pytest.mark.parametrize(("target", "link"), [(".", "below"), ("gone.txt", "a.txt")], ids=["folder", "nothing"])
def test_a_link_behind_which_text_may_be_lost_is_refused(tmp_path: Path, target: str, link: str) -> None:
    (tmp_path / "b.txt").write_text("文")
    (tmp_path / link).symlink_to(target)
    with pytest.raises(TextFolderError, match=f"{link} is a link to"):
        TextFolder.open(tmp_path)


def test_links_out_of_the_folder_and_what_is_no_file_are_rejected_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    folder, secret = tmp_path / "folder", tmp_path / "secret.txt"
    folder.mkdir()
    secret.write_text("秘密")
    (folder / "a.txt").symlink_to("/proc/self/environ")
    (folder / "b.txt").symlink_to("../secret.txt")
    (folder / "c.txt").symlink_to("/dev/zero")
    os.mkfifo(folder / "d.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "e.txt"))
    (folder / "f.txt").write_text("文")
    (folder / "g.txt").symlink_to("f.txt")
    (folder / "h.txt.xz").symlink_to(secret)
    (folder / "i.txt.gz").symlink_to("/dev/stdin")
    documents, rejected = read(folder)
    assert documents == [(5, ["文"]), (6, ["文"])]
    assert [row["document_id"] for row in rejected] == [0, 1, 2, 3, 4, 7, 8]
    reasons = [row["reason"] for row in rejected]
    assert reasons[0] == "a.txt: it is a link that leads out of the folder"
    assert reasons[3] == "d.jsonl: it is no file but a FIFO, socket, device or folder"
    opened = TextFolder.open(folder)
    assert [file.name for file in opened.refused] == [name.partition(":")[0] for name in reasons]
    reading = opened.documents([])
    next(reading)
    secret.write_text("別の秘密")
    assert len(list(reading)) == 1
    assert TextFolder.open(folder).sha256 == opened.sha256


@pytest.mark.parametrize("name", ["b.txt", "b.txt.xz"])
def test_a_file_that_becomes_a_link_out_of_the_folder_while_it_is_read_is_not_followed(
    tmp_path: Path, name: str
) -> None:
    folder, secret = tmp_path / "folder", tmp_path / "secret"
    folder.mkdir()
    content = lzma.compress("文".encode()) if name.endswith(".xz") else "文".encode()
    for path in (folder / "a.txt", folder / name, secret):
        path.write_bytes("前".encode() if path.name == "a.txt" else content)
    documents = TextFolder.open(folder).documents([])
    next(documents)
    (folder / name).unlink()
    (folder / name).symlink_to(secret)
    with pytest.raises(TextFolderError, match="was changed while it was read"):
        next(documents)


def test_a_folder_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("文")
    (tmp_path / "link").symlink_to("folder")
    assert read(tmp_path / "link") == ([(0, ["文"])], [])


def test_a_folder_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("前")
    documents = TextFolder.open(tmp_path).documents([])
    next(documents)
    (tmp_path / "a.txt").write_text("後で")
    with pytest.raises(TextFolderError, match="was changed while it was read"):
        next(documents)


def test_the_identity_is_that_of_paths_and_contents(tmp_path: Path) -> None:
    for folder, content in (("one", "甲"), ("two", "甲"), ("three", "乙")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(content)
    one, two, three = (TextFolder.open(tmp_path / folder).sha256 for folder in ("one", "two", "three"))
    assert one == two != three


def test_a_fingerprint_changes_with_every_change_of_the_text_files_and_reads_none(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("一")
    (folder / "b.jsonl").write_text('{"text": "二"}')
    opened = TextFolder.open(folder)
    assert opened.fingerprint == folder_fingerprint(folder)
    (folder / "README.md").write_text("no text of the corpus")
    assert opened.fingerprint == folder_fingerprint(folder)

    seen = {opened.fingerprint}

    def changed() -> bool:
        before = len(seen)
        seen.add(folder_fingerprint(folder))
        return len(seen) > before

    times = (folder / "a.txt").stat()
    (folder / "a.txt").write_text("丁")
    os.utime(folder / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changed(), "other content of the same size and time"
    (folder / "c.txt").write_text("三")
    assert changed()
    (folder / "c.txt").rename(folder / "d.txt")
    assert changed()
    (folder / "d.txt").unlink()
    (folder / "d.txt").symlink_to(folder / "a.txt")
    assert changed()
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(TextFolderError, match=r"\.txt, \.txt\.gz"):
        folder_fingerprint(folder)
