"""`jgpt exclude`: what its receipt says, and that nothing is made or written before it."""

import json
import shutil
from pathlib import Path

from jgpt_dagster.provenance.trace import trace_document, trace_samples
from jgpt_dagster.provenance.training_run import open_run
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

REASON = ("--reason", "asked for")


def test_a_receipt_names_documents_tokens_steps_checkpoints_and_releases(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    run = open_run(deployment.root, deployment.data / ".scratch", DUMP, "tiny")
    read = [part for sample in trace_samples(deployment.root, run, run.samples_of(2)) for part in sample.parts]
    page = next(part for part in read if part.file.corpus == "wikipedia")
    traced = trace_document(deployment.root, run, "wikipedia", page.source.key)
    steps = sorted({use.step for use in traced.uses})
    before = deployment.files()
    entry = ("--page", str(page.source.key), "--reason", "asked for")
    said = deployment.invoke("exclude", "add", *entry, "--dry-run")
    assert f"1: page {page.source.key}: 1 document\n" in said and said.endswith("nothing was written\n")
    assert deployment.files() == before
    deployment.invoke("exclude", "add", *entry)
    assert {name: deployment.files()[name] for name in before} == before
    (path,) = (deployment.data / "exclusions").glob("*.json")
    receipt = json.loads(path.read_text())
    (found,) = receipt["documents"]
    assert (found["corpus"], found["key"], found["title"]) == ("wikipedia", page.source.key, page.source.title)
    (model,) = receipt["models"]
    assert model["documents"] == [{"corpus": "wikipedia", "key": page.source.key, "steps": steps}]
    assert model["checkpoints"] == [step for step in run.checkpoints if step >= steps[0]] != []
    assert model["release"] == f"release {DUMP}|tiny"
    tokens = {file["path"]: file["tokens"] for file in receipt["tokens"]}
    assert tokens[page.file.path] == traced.document.length
    kinds = {holder["kind"] for holder in receipt["still_held"]}
    assert kinds == {"source", "tokenizer", "word counts", "training data", "model", "checkpoint", "release", "records"}

    text = page.file.label.replace("_tokens", "_articles")
    status = deployment.invoke("status", "--dump", DUMP)
    assert f"{text}: it holds what is excluded (1: page {page.source.key})" in status
    assert "wikipedia_articles   1 done, 1 stale" in status and "cc100_documents      2 done" in status
    checked = deployment.try_invoke("exclude", "check")
    assert checked.code == 1 and f"wikipedia_articles {DUMP}: 1 of 128 documents are excluded" in checked.output
    assert deployment.invoke("verify", "--root", deployment.data).endswith("verified\n")
    assert deployment.invoke("exclude", "add", *entry) == "the list has all of it already\n"


def test_a_model_in_training_that_was_started_from_one_that_read_them_is_named(
    finished: Deployment, tmp_path: Path
) -> None:
    deployment = finished.copy(tmp_path / "data")
    run = deployment.data / ".scratch" / "pretrained_model" / f"dump={DUMP}" / "model=next"
    run.mkdir()
    (run / "recipe.json").write_text(json.dumps({"inputs": {f"pretrained_model {DUMP}|tiny": "0" * 64}}))
    opened = open_run(deployment.root, deployment.data / ".scratch", DUMP, "tiny")
    (sample,) = trace_samples(deployment.root, opened, opened.samples_of(1)[:1])
    source = sample.parts[0].source
    entry = ("--page", source.key) if source.corpus == "wikipedia" else ("--document", f"{source.corpus}:{source.key}")
    said = deployment.invoke("exclude", "add", *map(str, entry), *REASON, "--dry-run")
    assert f"pretrained_model {DUMP}|next: started from pretrained_model {DUMP}|tiny" in said


def test_a_model_whose_training_data_is_gone_is_not_left_out_of_a_receipt(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    for gone in ("trained_on", "training_set"):
        shutil.rmtree(deployment.data / gone)
    said = deployment.invoke("exclude", "add", "--page", "1", *REASON)
    assert f"pretrained_model {DUMP}|tiny: its training data is gone, so nobody can tell" in said
    (page,) = (deployment.data / "exclusions").glob("*.md")
    assert "not known: its training data is gone" in page.read_text()
    receipt = json.loads(page.with_suffix(".json").read_text())
    held = {(holder["kind"], holder["name"]) for holder in receipt["still_held"]}
    assert {("model", f"pretrained_model {DUMP}|tiny"), ("release", f"release {DUMP}|tiny")} <= held


def test_the_list_is_shown_and_an_entry_can_be_removed(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    (tmp_path / "items.txt").write_text("この設問は学習に使われてはならない。\n短い。\n")
    said = deployment.invoke("exclude", "add", "--phrases-from", tmp_path / "items.txt", *REASON)
    assert "1 phrases, 1 shorter ones left out" in said
    assert "1: phrase この設問は学習に使われてはならない。" in deployment.invoke("exclude", "list")
    assert deployment.invoke("exclude", "check").startswith("entries on the exclusion list: 1\n  cc100_documents: 0 of")
    assert "removed; stale from now on: nothing" in deployment.invoke("exclude", "remove", "1")
    assert deployment.invoke("exclude", "list") == "nothing is excluded\n"
    assert "removed" in deployment.invoke("exclude", "list", "--all")
    address = "https://samplewiki.example.org/wiki/%E6%B0%B4%E7%B7%92%E7%9C%8C"
    assert "2: title 水緒県: 1 document" in deployment.invoke("exclude", "add", "--url", address, *REASON, "--dry-run")
    section = f"{address}#%E6%AD%B4%E5%8F%B2"
    assert "2: title 水緒県: 1 document" in deployment.invoke("exclude", "add", "--url", section, *REASON, "--dry-run")
    refused = deployment.try_invoke("exclude", "add", "--document", "news:1", *REASON)
    assert refused.code == 1 and "no corpus news. The corpora are: cc100, wikipedia" in refused.output
    refused = deployment.try_invoke("exclude", "add", "--phrase", "　", *REASON)
    assert refused.code == 1 and "nothing of the phrase" in refused.output
