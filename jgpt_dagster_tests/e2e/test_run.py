"""`jgpt run` makes a release of raw dumps, accounts for every page, and redoes nothing that is whole and current."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jgpt_dagster.sample.pack import read_pages
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    LATER_DUMP,
    REAL_DUMPS,
    SMALL_RUN,
    Deployment,
    mini_deployment,
    mini_pages,
    text_partitions,
    write_config,
)

pytestmark = pytest.mark.slow

REAL_DATA = os.environ.get("JGPT_TEST_DATA")


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Return the assets whose files were made again, added or removed."""
    return {name.split("/")[0] for name, _ in before.items() ^ after.items()}


def test_the_release_opens_with_transformers_offline(finished: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    release = finished.root.directory("release", DUMP, model="tiny")
    tokenizer = AutoTokenizer.from_pretrained(release.path)
    model = AutoModelForCausalLM.from_pretrained(release.path)
    ids = tokenizer("海に近い町", return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]) == "</s>海に近い町"
    with torch.inference_mode():
        assert torch.isfinite(model(ids).logits).all()
    card = (release.path / "README.md").read_text()
    assert "samplewiki, dump of 20260101" in card
    assert "licence of the text: see that wiki" in card and "Common Crawl terms of use" in card


def test_generate_prints_natural_text(finished: Deployment) -> None:
    prompt = "海に近い町で、New Yorkの話を聞いた。"
    text = finished.invoke("generate", prompt, "--max-new-tokens", "20").splitlines()
    continued = "\n".join(text[next(number for number, line in enumerate(text) if line.startswith(prompt)) :])
    assert len(continued) > len(prompt)
    assert "\u2581" not in continued
    assert "</s>" not in continued


def test_generate_reads_prompts_from_standard_input_and_streams_what_each_gives_alone(finished: Deployment) -> None:
    options = ("--max-new-tokens", "5")
    alone = [finished.invoke("generate", prompt, *options) for prompt in ("海に近い町で", "この楽器は")]
    together = finished.invoke("generate", *options, "--stream", stdin="海に近い町で\n\nこの楽器は\n".encode())
    assert together == "".join(f"{text}\n" for text in alone)
    refused = finished.try_invoke("generate", *options, stdin="海\n".encode() + b"\xff\n")
    assert refused.code == 2 and "line 2 of standard input is no UTF-8" in refused.output
    refused = finished.try_invoke("generate", *options, stdin="海\n".encode() + "山".encode() * 2000)
    assert refused.code == 1 and "line 2 of standard input: the prompt has" in refused.output


def test_every_page_of_the_dump_is_accounted_for(finished: Deployment) -> None:
    pages = read_pages(DUMP)
    counts = [finished.root.parquet("wikipedia_articles", DUMP, shard).verified().counts for shard in ("000", "001")]
    total = {name: sum(count[name] for count in counts) for name in counts[0] if name not in ("faults", "account")}
    assert total["pages"] == len(pages)
    assert total["redirects"] == sum(1 for page in pages if page.ns == 0 and page.redirect)
    assert total["other_namespaces"] == sum(1 for page in pages if page.ns != 0)
    assert total["articles"] + total["redirects"] + total["other_namespaces"] + total["rejected"] == total["pages"]
    assert total["rejected"] == 0
    assert all(count["rows"] for count in counts)


def test_documents_are_the_same_in_number_from_stage_to_stage(finished: Deployment) -> None:
    root = finished.root
    for corpus, source, dump in (("wikipedia", "articles", DUMP), ("cc100", "documents", None)):
        for shard in ("000", "001"):
            rows = root.parquet(f"{corpus}_{source}", dump, shard).verified().counts["rows"]
            assert root.parquet(f"{corpus}_segmented", dump, shard).verified().counts["rows"] == rows
            assert root.directory(f"{corpus}_tokens", dump, shard).verified().counts["documents"] == rows
    counts = root.directory("training_set", DUMP).verified().counts
    assert counts["validation_documents"] > 0
    assert sum(counts[f"{part}_documents"] for part in ("train", "validation", "skipped")) == counts["documents"]


def test_a_finished_run_leaves_no_unfinished_work(finished: Deployment) -> None:
    assert finished.leftovers() == []


def test_nothing_volatile_is_in_a_manifest(finished: Deployment) -> None:
    for name, path in finished.paths():
        if name.endswith("manifest.json"):
            assert str(finished.data) not in path.read_text(), name
    record = finished.root.directory("tokenizer").run_record()
    assert set(record) == {"seconds", "cpu_seconds", "host", "run_id", "made_because", "peak_memory_bytes"}


def test_a_changed_setting_makes_its_stage_again_and_what_follows(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    before = deployment.mtimes()
    config = write_config(tmp_path / "run.yaml", {**SMALL_RUN, "evaluation": {"prompts": ["早稲田大学で"]}})
    command = ("run", "--dump", DUMP, "--config", config)
    refused = deployment.try_invoke(*command)
    assert refused.code == 1 and "Stale from then on: evaluation, release" in refused.output
    assert changed(before, deployment.mtimes()) == set()
    output = deployment.succeed("jgpt", *command, "--yes")
    assert changed(before, deployment.mtimes()) == {"evaluation", "release", "run_config.json"}
    samples = deployment.root.directory("evaluation", DUMP, model="tiny").path / "samples.json"
    assert [sample["prompt"] for sample in json.loads(samples.read_text())] == ["早稲田大学で"]
    assert str(deployment.root.directory("release", DUMP, model="tiny").path) in output
    assert "held-out bits per character" in output
    assert "a text that begins with “早稲田大学で”" in output


def test_a_later_dump_reuses_the_tokenizer_and_cc100(finished: Deployment, refreshed: Deployment) -> None:
    before, after = finished.mtimes(), refreshed.mtimes()
    assert before.items() <= after.items()
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {f"dump={LATER_DUMP}"}
    counts = [
        refreshed.root.parquet("wikipedia_articles", LATER_DUMP, shard).verified().counts for shard in ("000", "001")
    ]
    assert sum(count["pages"] for count in counts) == len(read_pages(LATER_DUMP))


def test_wikipedia_alone_is_run_as_far_as_the_asset_that_is_asked_for(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path)
    config = write_config(
        tmp_path / "run.yaml",
        {"tokenizer": {"vocab_size": 600, "limit_alphabet": 300}, "training_set": {"validation_share": 0.3}},
    )
    output = deployment.succeed("jgpt", "run", "--dump", DUMP, "--config", config, "--to", "training_set")
    assets = text_partitions(DUMP, ["000"], cc100=False)
    beside = {"root.json", "run_config.json", "wikipedia_signatures", "wikipedia_word_counts"}
    assert {name.split("/")[0] for name in deployment.mtimes()} == {*beside, *assets}
    assert "wikipedia_articles   made (it was not there)" in output
    counts = deployment.root.parquet("wikipedia_articles", DUMP, "000").verified().counts
    pages = mini_pages()
    assert (counts["pages"], counts["articles"]) == (len(pages), len(pages) - 2)
    manifest = deployment.root.directory("training_set", DUMP).verified()
    assert sorted(manifest.recipe.inputs) == ["tokenizer", f"wikipedia_tokens {DUMP}|000"]


def test_an_unknown_asset_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    result = mini_deployment(tmp_path).try_invoke("run", "--dump", DUMP, "--to", "wikipedia_words")
    assert result.code == 1
    assert "There is no asset 'wikipedia_words'. The assets are: " in result.output
    assert "wikipedia_segmented" in result.output


def test_run_config_that_means_nothing_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", {"tokenizer": {"vocab_size": 70000}})
    deployment = mini_deployment(tmp_path)
    refused = deployment.try_invoke("run", "--dump", DUMP, "--config", config)
    assert refused.code == 1
    assert f"{config}: tokenizer: vocab_size is 70000: Input should be less than or equal to 65535" in refused.output
    assert deployment.mtimes() == {}


def test_what_is_no_date_is_no_dump(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path)
    for command in (("run", "--dump", "newest"), ("dumps", "add", "2026-01-01")):
        refused = deployment.try_invoke(*command)
        assert refused.code == 1
        assert f"Error: {command[-1]!r} is not a dump date" in refused.output


@pytest.mark.skipif(REAL_DATA is None, reason="JGPT_TEST_DATA does not name a folder of real dumps")
def test_a_real_excerpt_gives_its_articles(real_excerpt: Callable[[str], Deployment]) -> None:
    root, (dump, _) = real_excerpt("clean").root, REAL_DUMPS
    shards = [f"{number:03d}" for number in range(4)]
    counts = [root.parquet("wikipedia_articles", dump, shard).verified().counts for shard in shards]
    total = {name: sum(count[name] for count in counts) for name in counts[0] if name not in ("faults", "account")}
    found = [total[name] for name in ("pages", "articles", "redirects", "other_namespaces", "rejected")]
    assert found == [234, 186, 16, 32, 0]
    training_set = root.directory("training_set", dump).verified()
    assert training_set.counts["documents"] == 186 + 456  # 15 are too short, 4 repetitive, 2 not Japanese
    assert training_set.counts["token_files"] == 8
