"""Missing work is what is absent on disk and can be made now, from what lies there."""

from pathlib import Path

from jgpt_dagster.catalog.corpora import configured_corpora
from jgpt_dagster.catalog.missing_work import missing_work
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster_tests.support.deployments import DUMP

SHARDS = ("000", "001")


def test_a_folder_corpus_needs_no_download(tmp_path: Path) -> None:
    corpora = configured_corpora("miniwiki", "https://example.org/ja.txt.xz", {"news": tmp_path / "news"})
    works = missing_work(OutputCatalog(DataRoot(tmp_path), corpora, SHARDS, "tiny"), DUMP)
    assert [work.name for work in works] == ["cc100_dump", "news_documents 000…001"]
