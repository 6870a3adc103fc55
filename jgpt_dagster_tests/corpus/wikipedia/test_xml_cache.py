"""What the first reader of a dump leaves for the next is the dump's XML, shard by shard."""

from pathlib import Path

import pytest

from jgpt_dagster.corpus.wikipedia.multistream import read_range, split_dump
from jgpt_dagster.corpus.wikipedia.xml_cache import cached_xml_name, decompress_and_cache, read_cached_xml
from jgpt_dagster.sample.dump_writer import Page, write_dump


@pytest.mark.parametrize("shards", [1, 3, 9])
def test_the_unpacked_shards_are_the_xml_of_the_dump(tmp_path: Path, shards: int) -> None:
    pages = [Page(f"町{number}", number, number + 100, f"{number} & 文 " * number) for number in range(1, 21)]
    write_dump(tmp_path, "testwiki", "20250801", pages, pages_per_stream=5)
    (dump,) = tmp_path.rglob("*multistream.xml.bz2")
    plan = split_dump(dump, None, shards)
    reads: list[int] = []
    whole = b"".join(decompress_and_cache(dump, plan, tmp_path / "unpacked", reads.append))
    assert whole == b"".join(chunk for part in plan.shards for chunk in read_range(dump, part))
    assert sum(reads) == sum(part.length for part in plan.shards)
    parts = []
    for number, part in enumerate(plan.shards):
        path, reads = tmp_path / "unpacked" / cached_xml_name(number), []
        assert path.exists() == bool(part.length)
        if part.length:
            parts.append(b"".join(read_cached_xml(path, reads.append)))
            assert parts[-1] == b"".join(read_range(dump, part))
            assert sum(reads) == path.stat().st_size
    assert b"".join(parts) == whole
