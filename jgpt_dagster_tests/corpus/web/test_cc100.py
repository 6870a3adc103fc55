import lzma
import os
import tracemalloc
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.fetch import decompress
from jgpt_dagster.corpus.fetch.decompress import DamagedFileError
from jgpt_dagster.corpus.schemas import DOCUMENTS
from jgpt_dagster.corpus.web.cc100 import distribute_to_shards, read_documents, shard_of
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import RowWriter, read_manifest, read_rows, write_rows

RECIPE = Recipe(stage="cc100_documents", code_version="1")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "ja.txt.xz"


def read(path: Path, **limits: Any) -> tuple[list[tuple[int, list[str]]], list[dict[str, Any]]]:
    rejected: list[dict[str, Any]] = []
    return list(read_documents(path, rejected, **limits)), rejected


def documents_of(path: Path, text: str | bytes) -> list[tuple[int, list[str]]]:
    path.write_bytes(lzma.compress(text if isinstance(text, bytes) else text.encode()))
    documents, rejected = read(path)
    assert rejected == []
    return documents


def test_a_line_is_a_paragraph_and_an_empty_line_ends_a_document(archive):
    assert documents_of(archive, "一\n二\n\n三\n") == [(0, ["一", "二"]), (1, ["三"])]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n\n"])
@pytest.mark.parametrize("gap", ["\n\n", "\n\n\n", "\n" * 7])
@pytest.mark.parametrize("start", ["", "\n", "\n\n\n"])
def test_more_empty_lines_make_no_documents(archive, start, gap, end):
    assert documents_of(archive, f"{start}一{gap}二{end}") == [(0, ["一"]), (1, ["二"])]


def test_all_bytes_of_the_archive_are_told_as_they_are_read(archive):
    archive.write_bytes(lzma.compress("一\n\n二\n".encode()) * 2)
    told: list[int] = []
    list(read_documents(archive, [], on_read=told.append))
    assert sum(told) == archive.stat().st_size


def test_windows_line_ends_are_line_ends(archive):
    assert documents_of(archive, "一\r\n二\r\n\r\n三\r四\r\n") == [(0, ["一", "二"]), (1, ["三\r四"])]


def test_a_line_of_spaces_parts_nothing_and_lines_keep_their_spaces(archive):
    assert documents_of(archive, "一\n \u3000\n 二 \n") == [(0, ["一", " \u3000", " 二 "])]


@pytest.mark.parametrize("text", ["", "\n", "\n\n\n", "\r\n\r\n"])
def test_a_file_without_lines_has_no_documents(archive, text):
    assert documents_of(archive, text) == []


def test_several_streams_and_padding_are_one_text(archive):
    streams = [lzma.compress(text.encode()) for text in ("一\n\n二", "の続き\n", "\n三\n")]
    archive.write_bytes((b"\0" * 4).join(streams) + b"\0" * (1 << 19))
    assert read(archive)[0] == [(0, ["一"]), (1, ["二の続き"]), (2, ["三"])]


@given(
    st.lists(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), min_size=1)),
    st.integers(1, 40),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_what_is_read_at_any_chunk_size(tmp_path_factory, documents, size, newline):
    path = tmp_path_factory.mktemp("cc100") / "ja.txt.xz"
    path.write_bytes(lzma.compress("".join(newline.join([*lines, "", ""]) for lines in documents).encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decompress, "_OUTPUT_BYTES", size)
        patch.setattr(decompress, "_INPUT_BYTES", size + 3)
        assert read(path) == (list(enumerate(documents)), [])


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(1, 30), st.sampled_from(["\n\n", "\n\n\n\n"]))
def test_a_document_over_the_limit_is_kept_aside_at_any_chunk_size(tmp_path_factory, sizes, chunk, gap):
    path = tmp_path_factory.mktemp("cc100") / "ja.txt.xz"
    path.write_bytes(
        lzma.compress(gap.join(("a" * 9 + "\n") * (size // 10) + "b" * (size % 10) for size in sizes).encode())
    )
    true_sizes = [size - (size % 10 == 0) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decompress, "_OUTPUT_BYTES", chunk)
        documents, rejected = read(path, limit_bytes=20)
    assert [len("\n".join(lines)) for _, lines in documents] == [size for size in true_sizes if size <= 20]
    assert [(row["document_id"], row["reason"]) for row in rejected] == [
        (number, f"it has {size} bytes, more than 20") for number, size in enumerate(true_sizes) if size > 20
    ]


def test_a_document_that_is_not_utf8_is_kept_aside_and_keeps_its_number(archive):
    archive.write_bytes(lzma.compress(b"a\n\nb\xff\nc\n\nd\n"))
    documents, rejected = read(archive)
    assert documents == [(0, ["a"]), (2, ["d"])]
    assert rejected == [{"document_id": 1, "reason": "it is not UTF-8: invalid start byte at its byte 1"}]


def test_an_endless_line_is_not_held_in_memory(archive):
    with lzma.open(archive, "wb", preset=0) as out:
        for _ in range(64):
            out.write(b"x" * (1 << 20))
        out.write(b"\n\nend\n")
    tracemalloc.start()
    documents, rejected = read(archive, limit_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert documents == [(1, ["end"])]
    assert rejected[0]["reason"] == "it has 67,108,864 bytes, more than 1,048,576"
    assert peak < 16 << 20


def test_a_cut_or_corrupt_archive_is_a_clear_error(archive):
    text = "".join(f"{number} {'本文' * (number * number % 53)}\n\n" for number in range(4_000))
    whole = lzma.compress(text.encode())
    expected = documents_of(archive, text)
    corrupt = bytearray(whole)
    corrupt[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], whole[:-1], bytes(corrupt), whole + b"trailing", b"", b"plain text\n"):
        archive.write_bytes(content)
        found: list[tuple[int, list[str]]] = []
        with pytest.raises(DamagedFileError, match=r"ja\.txt\.xz: damaged .* after [\d,]+ decompressed bytes"):
            found.extend(read_documents(archive, []))
        assert found == expected[: len(found)]


def test_an_archive_that_asks_for_too_much_memory_is_refused(archive):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    content = bytearray(lzma.compress(b"a\n", filters=filters))
    # The LZMA2 dictionary size is one byte of the block header: 40 means 4 GiB. The header's CRC32 follows it.
    place = content.index(b"\x21\x01") + 2
    content[place] = 40
    header_size = (content[12] + 1) * 4
    crc = zlib.crc32(content[12 : 12 + header_size - 4])
    content[12 + header_size - 4 : 12 + header_size] = crc.to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"[Mm]emory usage limit"):
        read(archive)


def write_by_dealing(directory: Path, documents: list[tuple[int, list[str]]], shards: int, wanted: list[int]) -> None:
    with ExitStack() as files:
        writers = {
            number: files.enter_context(RowWriter.open(directory / f"{number}.parquet", DOCUMENTS, RECIPE, dict))
            for number in wanted
        }
        distribute_to_shards(documents, shards, writers)


DOCUMENTS_DEALT = [(number, [f"行{number}", "続き" * (number % 7)]) for number in range(1000)]


def test_one_pass_writes_the_same_bytes_as_one_pass_a_shard(tmp_path):
    write_by_dealing(tmp_path, DOCUMENTS_DEALT, 3, [0, 1, 2])
    for number in range(3):
        rows = (row for row in DOCUMENTS_DEALT if shard_of(row[0], 3) == number)
        manifest = write_rows(tmp_path / "alone.parquet", DOCUMENTS, rows, RECIPE, dict)
        assert (tmp_path / f"{number}.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
        assert read_manifest(tmp_path / f"{number}.parquet") == manifest


def test_every_document_is_in_one_shard_and_shards_not_asked_for_are_passed_over(tmp_path):
    write_by_dealing(tmp_path, DOCUMENTS_DEALT, 7, [2, 5])
    for number in (2, 5):
        assert list(read_rows(tmp_path / f"{number}.parquet")) == DOCUMENTS_DEALT[number::7]


def test_when_the_source_breaks_off_no_shard_gets_its_name(tmp_path):
    def breaking():
        yield from DOCUMENTS_DEALT
        raise DamagedFileError("cut")

    with pytest.raises(DamagedFileError):
        write_by_dealing(tmp_path, breaking(), 3, [0, 1, 2])
    assert list(tmp_path.iterdir()) == []


def test_large_rows_are_written_before_they_pile_up(tmp_path):
    rows = [(number, ["あ" * (1 << 20)] * 3) for number in range(12)]
    with RowWriter.open(tmp_path / "large.parquet", DOCUMENTS, RECIPE, dict) as writer:
        for row in rows:
            writer.append(row)
            assert len(writer._pending) + sum(batch.num_rows for batch in writer._group) <= 2
    assert list(read_rows(tmp_path / "large.parquet")) == rows


def test_real_documents_are_all_read():
    root = os.environ.get("JGPT_TEST_DATA")
    if not root:
        pytest.skip("JGPT_TEST_DATA is not set: it names the directory with real documents")
    documents, rejected = read(Path(root) / "cc100" / "ja-cc100sample.txt.xz")
    assert (len(documents), sum(len(lines) for _, lines in documents), rejected) == (477, 9571, [])
