"""The account of what cleaning left out: beside each shard, in its manifest and metadata, and in `jgpt text report`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.left_out.figures import Figures, summed
from jgpt_dagster.corpus.left_out.ledger import account_counts, read_figures
from jgpt_dagster.corpus.wikitext.template_rules import FILE
from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster.storage.manifest import ACCOUNT
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, Materialized, mini_deployment

ARTICLES = [
    Page("春の町", 1, 1001, "春の町は{{町の印|青}}の町である。橋がある。<ref>町史</ref>"),
    Page("夏の町", 2, 1002, "{{町の箱|名=夏の町\n|人口=3\n}}\n夏の町は{{町の印|赤}}の町である。川がある。"),
    Page("秋の町", 3, 1003, "秋の町は静かである。\n{|\n|甲||乙\n|}\n山がある。"),
]


def made(deployment: Deployment, dump: str) -> Materialized:
    assert deployment.materialize("wikipedia_dump", dump).error is None
    result = deployment.materialize("wikipedia_articles", f"{dump}|000")
    assert result.error is None
    return result


def lines(deployment: Deployment, dump: str) -> list[str]:
    rows = read_rows(deployment.root.parquet("wikipedia_articles", dump, "000").path, ["lines"])
    return [line for (found,) in rows for line in found[1:]]


def account(deployment: Deployment, dump: str) -> tuple[Mapping[str, Any], Figures]:
    """Return what the manifest of the shard says, and the sum of the file beside it."""
    shard = deployment.root.parquet("wikipedia_articles", dump, "000")
    return shard.verified().counts["account"], summed(read_figures(shard.account_path))


def test_the_figures_of_each_article_are_sealed_and_their_sums_are_in_the_manifest_and_metadata(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path, ARTICLES)
    result = made(deployment, DUMP)
    shard = deployment.root.parquet("wikipedia_articles", DUMP, "000")
    counts, total = account(deployment, DUMP)
    assert counts == account_counts(total)
    assert (
        counts["left_out"] == total.characters and counts["left_out"]["note"] == 2 and counts["left_out"]["table"] == 2
    )
    assert counts["costliest_templates"]["町の印"]["sentences"] == 2
    assert [figures.characters["table"] for figures in read_figures(shard.account_path)] == [0, 0, 2]
    assert total.kept == sum(map(str.isalnum, "".join(lines(deployment, DUMP))))
    table = result.metadata["templates_that_cost_most"].records
    assert [record.data["template"] for record in table] == ["町の印", "町の箱"]
    assert "{{町の印}}" in table[0].data["sample"]
    assert "svg" in result.metadata["what_cleaning_left_out"].value
    assert result.metadata["left_out_by_reason"].records
    manifest = shard.manifest()
    assert manifest and manifest.files[ACCOUNT].mismatch(shard.account_path) is None
    shard.account_path.write_bytes(b"PAR1")
    assert "left_out" in (shard.find_mismatch(manifest) or "")


def test_a_reused_article_brings_its_own_figures_so_sums_equal_a_rebuild(tmp_path: Path) -> None:
    later = [ARTICLES[0], Page("夏の町", 2, 2002, "夏の町は広い。<ref>新しい町史</ref>"), ARTICLES[2]]
    deployment = mini_deployment(tmp_path, ARTICLES)
    write_dump(tmp_path / "mirror", "miniwiki", LATER_DUMP, later, pages_per_stream=4)
    rebuilt = deployment.copy(tmp_path / "rebuilt") if deployment.data.exists() else deployment
    made(deployment, DUMP)
    refreshed = made(deployment, LATER_DUMP)
    assert refreshed.metadata["reused_rows"].value == 2
    refreshed_account = deployment.root.parquet("wikipedia_articles", LATER_DUMP, "000").account_path.read_bytes()
    refreshed_sums = account(deployment, LATER_DUMP)
    rebuilt = mini_deployment(tmp_path / "other", ARTICLES)
    write_dump(tmp_path / "other" / "mirror", "miniwiki", LATER_DUMP, later, pages_per_stream=4)
    assert made(rebuilt, LATER_DUMP).metadata["reused_rows"].value == 0
    assert account(rebuilt, LATER_DUMP) == refreshed_sums
    assert rebuilt.root.parquet("wikipedia_articles", LATER_DUMP, "000").account_path.read_bytes() == refreshed_account


def test_the_report_lists_what_a_wiki_lacks_and_rules_from_its_draft_make_articles_stale(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path, ARTICLES)
    made(deployment, DUMP)
    output = deployment.invoke("text", "report", "--dump", DUMP)
    assert "3 articles" in output and "tables" in output and "{{町の印}}" in output
    draft = deployment.invoke("text", "report", "--dump", DUMP, "--draft")
    assert "#町の印: shows 1" in draft and "#町の箱: silent" in draft and draft in output
    rules = deployment.data / FILE
    rules.write_text(draft)
    assert made(deployment, DUMP).metadata["status"].value.startswith("verified")
    rules.write_text(draft.replace("#町の印", "町の印"))
    assert f"made from {FILE} none" in deployment.invoke("status", "--dump", DUMP)
    assert made(deployment, DUMP).metadata["status"].value == "made"
    assert lines(deployment, DUMP)[0] == "春の町は青の町である。橋がある。"
    assert account(deployment, DUMP)[0]["left_out"]["sentence"] == 0
    assert "町の印" not in deployment.invoke("text", "report", "--dump", DUMP)
    rules.write_text("町の印: shown 1")
    assert "unreadable" in deployment.invoke("status", "--dump", DUMP)
    refused = deployment.materialize("wikipedia_articles", f"{DUMP}|000").error
    assert refused and "line 1" in refused and "`shows 1`" in refused
    rules.unlink()
    assert "which is now none" in deployment.invoke("status", "--dump", DUMP)


def test_a_shard_from_before_there_were_accounts_stays_current_but_lends_no_rows(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path, ARTICLES)
    made(deployment, DUMP)
    shard = deployment.root.parquet("wikipedia_articles", DUMP, "000")
    manifest = shard.verified()
    counts = {name: count for name, count in manifest.counts.items() if name not in ("account", "rows")}
    schema_rows = list(read_rows(shard.path))
    from jgpt_dagster.corpus.schemas import ARTICLES as SCHEMA

    before = shard.write(SCHEMA, iter(schema_rows), manifest.recipe, lambda: counts, lambda: [])
    shard.account_path.unlink()
    assert ACCOUNT not in before.files and before.data_sha256 == manifest.data_sha256
    assert made(deployment, DUMP).metadata["status"].value.startswith("verified")
    told = deployment.try_invoke("text", "report", "--dump", DUMP)
    assert told.code == 1 and "No shard" in told.output and "force" in told.output
    write_dump(tmp_path / "mirror", "miniwiki", LATER_DUMP, ARTICLES, pages_per_stream=4)
    assert made(deployment, LATER_DUMP).metadata["reused_rows"].value == 0
    assert len([*read_figures(deployment.root.parquet("wikipedia_articles", LATER_DUMP, "000").account_path)]) == 3


def test_seed_has_no_account(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path, ARTICLES).with_settings(TEXT="seed")
    (deployment.data).mkdir(exist_ok=True)
    (deployment.data / FILE).write_text("町の印: shows 1")
    made(deployment, DUMP)
    manifest = deployment.root.parquet("wikipedia_articles", DUMP, "000").verified()
    assert ACCOUNT not in manifest.files and "account" not in manifest.counts and FILE not in manifest.recipe.settings
