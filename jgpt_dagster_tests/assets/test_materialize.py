"""What all stages share: they redo nothing that is whole and current unless told to, and show what they made."""

from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.assets.metadata import preview
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, mini_deployment
from jgpt_dagster_tests.support.tables import rows_of

KEY = f"{DUMP}|000"


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A very small wiki whose articles are read. Read only."""
    deployment = mini_deployment(tmp_path_factory.mktemp("articles"))
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    assert deployment.materialize("wikipedia_articles", KEY).error is None
    return deployment


def test_a_current_output_is_verified_and_left_alone(articles: Deployment) -> None:
    before = articles.mtimes()
    again = articles.materialize("wikipedia_articles", KEY)
    assert again.metadata["status"].text == "verified: complete and current"
    assert articles.mtimes() == before


def test_force_makes_the_same_bytes_again(articles: Deployment, tmp_path: Path) -> None:
    deployment = articles.copy(tmp_path / "data")
    before = deployment.mtimes()
    again = deployment.materialize("wikipedia_articles", KEY, force=True)
    assert again.metadata["status"].text == "made"
    assert deployment.files() == articles.files()
    assert {name for name, time in deployment.mtimes().items() if before[name] != time} == {
        f"wikipedia_articles/dump={DUMP}/shard=000{ending}"
        for ending in (".parquet", ".left_out.pq", ".rejected.jsonl", ".run.json")
    }


def test_a_missing_input_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    error = mini_deployment(tmp_path).materialize("wikipedia_segmented", KEY).error
    assert error is not None
    assert "shard=000.parquet is missing or incomplete. Make it with:" in error
    assert "--select wikipedia_articles --partition '20260101|000'" in error


def test_a_dump_lies_on_disk_once(articles: Deployment) -> None:
    (dump,) = (articles.data / "wikipedia_dump").glob("*/*.xml.bz2")
    (source,) = articles.data.parent.glob("mirror/**/*.xml.bz2")
    assert dump.samefile(source)


def test_a_download_left_by_a_kill_is_deleted(articles: Deployment, tmp_path: Path) -> None:
    deployment = articles.copy(tmp_path / "data")
    left = deployment.data / ".incoming" / f"miniwiki-{DUMP}"
    left.mkdir(parents=True)
    (left / "dump").touch()
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    assert deployment.leftovers() == []


def test_metadata_shows_counts_time_place_and_rows(articles: Deployment) -> None:
    metadata = articles.materialize("wikipedia_articles", KEY).metadata
    assert (metadata["pages"].value, metadata["articles"].value) == (12, 10)
    assert metadata["seconds"].value > 0
    assert metadata["cpu_seconds"].value > 0
    assert metadata["path"].path == f"wikipedia_articles/dump={DUMP}/shard=000.parquet"
    assert isinstance(metadata["preview"], dg.TableMetadataValue)
    assert "第1の町" in [title for title, _ in rows_of(metadata["preview"])]


def test_a_preview_is_a_table_of_shortened_text_on_one_line() -> None:
    text = "[link](x) <b> `code` | 表"
    shown = preview(("id", "text"), [("1", text), ("2", "長い" * 1000), ("3", "一\n二\u2028\x1b[2J")])
    assert rows_of(shown) == [("1", text), ("2", "長い" * 59 + "長…"), ("3", "一 二 \\x1b[2J")]
    assert preview(("id", "text"), []).records == []


def test_seed_expands_the_templates_of_the_dump_and_a_damaged_one_stops_it(deployment: Deployment) -> None:
    seed = deployment.with_settings(TEXT="seed")
    assert seed.materialize("wikipedia_dump", DUMP).error is None
    assert seed.materialize("wikipedia_articles", f"{DUMP}|000").error is None
    dump = seed.root.directory("wikipedia_dump", DUMP)
    manifest = dump.verified()
    assert manifest.counts["templates"]["templates"] > 1
    recipe = seed.root.parquet("wikipedia_articles", DUMP, "000").verified().recipe
    assert "templates" in recipe.settings
    for name in ("templates.texts", "shard=000.xml.lz4"):
        whole = (dump.path / name).read_bytes()
        (dump.path / name).write_bytes(b"x" * len(whole))
        failure = seed.materialize("wikipedia_articles", f"{DUMP}|000", force=True).error
        assert failure is not None and name in failure
        (dump.path / name).write_bytes(whole)
