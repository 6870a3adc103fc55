"""`seed` expands the templates of the dump: a changed one makes all articles anew, an unchanged one none."""

from pathlib import Path

from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, mini_deployment

ARTICLES = [Page(f"第{number}の町", number, 1000 + number, f"{number}番の{{{{印}}}}の町。") for number in range(1, 6)]
EDITED = [ARTICLES[0], Page("第2の町", 2, 2000, "書き直された{{印}}の町。"), *ARTICLES[2:]]


def pages(template: str, revision: int, articles: list[Page]) -> list[Page]:
    return [*articles, Page("Template:印", 9, revision, template, ns=10)]


def articles(deployment: Deployment, dump: str) -> tuple[int, int, list[str]]:
    """Rows reused and made of a dump, and the text of its articles."""
    assert deployment.materialize("wikipedia_dump", dump).error is None
    made = deployment.materialize("wikipedia_articles", f"{dump}|000")
    assert made.error is None
    rows = read_rows(deployment.root.parquet("wikipedia_articles", dump, "000").path, ["lines"])
    return made.metadata["reused_rows"].value, made.metadata["made_rows"].value, [lines[1] for (lines,) in rows]


def test_a_changed_template_makes_all_articles_anew_and_an_unchanged_one_none(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path, pages("青", 1, ARTICLES)).with_settings(TEXT="seed")
    assert articles(deployment, DUMP) == (0, 5, [f"{number}番の青の町。" for number in range(1, 6)])
    write_dump(tmp_path / "mirror", "miniwiki", LATER_DUMP, pages("青", 1, EDITED), pages_per_stream=4)
    same = deployment.copy(tmp_path / "same")
    assert articles(same, LATER_DUMP)[:2] == (4, 1)
    write_dump(tmp_path / "mirror", "miniwiki", LATER_DUMP, pages("赤", 2, EDITED), pages_per_stream=4)
    reused, made, texts = articles(deployment, LATER_DUMP)
    assert (reused, made) == (0, 5)
    assert texts == ["1番の赤の町。", "書き直された赤の町。", *[f"{number}番の赤の町。" for number in range(3, 6)]]
