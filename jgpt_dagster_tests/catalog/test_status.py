"""`jgpt status` says for each dump what is done, stale, running, failed and missing, why, and what to run next."""

import json
import os
import shutil
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from jgpt_dagster.catalog.status import DeploymentStatus, Status, next_step
from jgpt_dagster.cli import main
from jgpt_dagster.corpus.segmenters.mecab import MecabSegmenter
from jgpt_dagster.definitions import build_definitions, code_versions, defs
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG
from jgpt_dagster.orchestration.interrupted_training import interruption_of
from jgpt_dagster.orchestration.partitions import add_dumps
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import shard_names
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import read_manifest
from jgpt_dagster.storage.sealed_json import write_sealed_json
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, mini_deployment

SHARDS = shard_names(2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A very small wiki with its articles in two shards, of which one is segmented. Read only."""
    deployment = mini_deployment(tmp_path_factory.mktemp("made")).with_settings(SHARDS="2")
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    for partition in (f"{DUMP}|000", f"{DUMP}|001"):
        assert deployment.materialize("wikipedia_articles", partition).error is None
    assert deployment.materialize("wikipedia_segmented", f"{DUMP}|000").error is None
    return deployment


@pytest.fixture
def deployment(made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    deployment = made.copy(tmp_path / "data")
    for name, value in deployment.env.items():
        monkeypatch.setenv(name, value)
    return deployment


def states(deployment: Deployment, **changes: str) -> dict[str, str]:
    """Return the state, and its reason, of each output of the dump; `changes` are other code versions."""
    return {
        output.artifact.label: f"{output.state} {output.reason}".strip()
        for output in of_dump(deployment, **changes).outputs
    }


def of_dump(deployment: Deployment, **changes: str) -> Status:
    return deployment_status(settings_of(deployment), **changes).status(DUMP, lambda: [])


def deployment_status(settings: Settings, **changes: str) -> DeploymentStatus:
    return DeploymentStatus(settings.catalog, code_versions(defs) | changes, settings.segmenter)


def settings_of(deployment: Deployment, **others: str) -> Settings:
    values = {name.lower(): value for name, value in {**deployment.settings, **others}.items()}
    return Settings.model_validate({"data": deployment.data, "scratch": None, **values})


def replace(target: Path, content: bytes) -> None:
    target.unlink()
    target.write_bytes(content)


def test_what_was_made_again_says_why(deployment: Deployment) -> None:
    assert not [line for line in of_dump(deployment).lines() if "made again" in line]
    assert deployment.materialize("wikipedia_articles", f"{DUMP}|000", force=True).error is None
    assert "    1 made again: it was asked for (force)" in [*of_dump(deployment).lines()]
    changes = [f"wikipedia_dump {DUMP} has been made again: it was 0123456789ab…, is ba9876543210…"] * 9
    for shard in ("000", "001"):  # each has hashes of its own
        articles = deployment.root.parquet("wikipedia_articles", DUMP, shard)
        reasons = "; ".join(
            [*changes, f"other {shard} has been made again: it was 01…, is {shard}…", "shards was 2, is 3"]
        )
        replace_record(articles, made_because=reasons)
    expected = "    2 made again: wikipedia_dump has been made again; other has been made again; shards was 2, is 3"
    assert expected in [*of_dump(deployment).lines()]


def replace_record(output: Artifact, **values: str) -> None:
    record = {**output.run_record(), **values}
    output.run_path.unlink()
    write_sealed_json(output.run_path, record, internal=True)


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["status", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def record(instance: dg.DagsterInstance, asset: str, partition: str) -> dg.DagsterRun:
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        asset_selection=frozenset([dg.AssetKey(asset)]),
        tags={"dagster/partition": partition},
        status=dg.DagsterRunStatus.NOT_STARTED,
    )
    return instance.add_run(run)


def test_outputs_on_disk_are_done_and_the_others_missing(deployment: Deployment) -> None:
    assert states(deployment) == {
        f"wikipedia_dump {DUMP}": "done",
        **{f"wikipedia_articles {DUMP}|{shard}": "done" for shard in SHARDS},
        f"wikipedia_segmented {DUMP}|000": "done",
        f"wikipedia_segmented {DUMP}|001": "missing",
        **{f"wikipedia_tokens {DUMP}|{shard}": "missing" for shard in SHARDS},
        f"training_set {DUMP}": "missing",
        **{f"{asset} {DUMP}|tiny": "missing" for asset in ("pretrained_model", "evaluation", "release")},
    }


def test_an_output_made_by_another_code_version_is_stale(deployment: Deployment) -> None:
    found = states(deployment, wikipedia_segmented="99")
    assert found[f"wikipedia_segmented {DUMP}|000"] == (
        f"stale made by version {code_versions(defs)['wikipedia_segmented']} of the code, which is now 99"
    )
    assert found[f"wikipedia_articles {DUMP}|000"] == "done"


def test_an_output_of_another_library_version_is_stale(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgpt_dagster.catalog.staleness.version", lambda name: {"pyarrow": "9.9"}.get(name))
    found = states(deployment)
    assert found[f"wikipedia_segmented {DUMP}|000"].startswith("stale made with pyarrow ")
    assert found[f"wikipedia_dump {DUMP}"] == "done"


def test_text_segmented_by_another_engine_is_stale(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MecabSegmenter, "fingerprint", "mecab 99")
    found = states(deployment)[f"wikipedia_segmented {DUMP}|000"]
    assert found.startswith("stale made with segmenter mecab") and found.endswith("; installed is mecab 99")


def test_a_training_set_of_other_corpora_is_stale(deployment: Deployment) -> None:
    with deployment.root.directory("training_set", DUMP).writing(
        Recipe("training_set", code_versions(defs)["training_set"], {"weights": {"wikipedia": 1.0, "news": 1.0}})
    ):
        pass
    expected = "stale made from the corpora news, wikipedia, which is now wikipedia"
    assert states(deployment)[f"training_set {DUMP}"] == expected


def put(artifact: Artifact, inputs: dict[str, str], **settings: object) -> str:
    """Write an output that was made of inputs by the code of now; return the hash of its data."""
    assert isinstance(artifact, DirectoryArtifact)
    with artifact.writing(
        Recipe(artifact.asset, code_versions(defs).get(artifact.asset, "1"), settings, inputs)
    ) as out:
        (out.path / "content").write_text(artifact.label)
    return artifact.verified().data_sha256


def put_model(deployment: Deployment, tokens: dict[str, str], corpora: list[str]) -> None:
    """Write a training set of tokens, and what a model of it consists of."""
    root = deployment.root
    data = root.directory("training_set", DUMP)
    trained_on = put(data, tokens, weights=dict.fromkeys(corpora, 1.0))
    model, scores, release = (
        root.directory(asset, DUMP, model="tiny") for asset in ("pretrained_model", "evaluation", "release")
    )
    weights = put(model, {data.label: trained_on})
    figures = put(scores, {model.recipe_label: weights, data.label: trained_on})
    put(release, {model.recipe_label: weights, scores.recipe_label: figures})


FROM_TRAINING_SET = {
    f"pretrained_model {DUMP}|tiny": f"training_set {DUMP} is stale",
    f"evaluation {DUMP}|tiny": f"pretrained_model {DUMP}|tiny is stale",
    f"release {DUMP}|tiny": f"evaluation {DUMP}|tiny is stale",
}


def test_another_list_of_corpora_makes_model_evaluation_and_release_stale_before_the_run(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(deployment, {}, ["wikipedia"])
    assert not [state for state in states(deployment).values() if state.startswith("stale")]
    (tmp_path / "news").mkdir()
    longer = deployment.with_settings(FOLDERS=f"news={tmp_path / 'news'}")
    found = states(longer)
    assert found[f"training_set {DUMP}"] == "stale made from the corpora wikipedia, which is now news, wikipedia"
    assert {label: found[label] for label in FROM_TRAINING_SET} == {
        label: f"stale {reason}" for label, reason in FROM_TRAINING_SET.items()
    }
    monkeypatch.setenv("JGPT_FOLDERS", longer.settings["FOLDERS"])
    output = printed()
    assert "pretrained_model     stale (kept)" in output and "release              stale (kept)" in output
    next_line = f"next: jgpt run --dump {DUMP} (pretrained_model {DUMP}|tiny is stale and stays; --retrain replaces it"
    assert next_line in output


def test_a_change_in_a_folder_makes_all_that_is_made_of_it_stale_before_the_run(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "news"
    folder.mkdir()
    (folder / "one.jsonl").write_text('{"text": "港の祭りは毎年八月の終わりに開かれる。"}\n' * 2)
    news = deployment.with_settings(FOLDERS=f"news={folder}")
    for shard in SHARDS:
        assert news.materialize("news_documents", shard).error is None
    root = news.root
    documents = {shard: root.parquet("news_documents", shard=shard).verified() for shard in SHARDS}
    tokens = root.directory("news_tokens", shard="000")
    made = put(tokens, {"news_documents 000": documents["000"].data_sha256})
    put_model(news, {tokens.label: made}, ["wikipedia", "news"])

    def stale() -> dict[str, str]:
        status = deployment_status(settings_of(news))
        outputs = [*status.status(None, lambda: []).outputs, *status.status(DUMP, lambda: []).outputs]
        return {output.artifact.label: output.reason for output in outputs if output.state == "stale"}

    def stale_because(reason: str) -> dict[str, str]:
        return {
            **{f"news_documents {shard}": reason for shard in SHARDS},
            tokens.label: "news_documents 000 is stale",
            f"training_set {DUMP}": f"{tokens.label} is stale",
            **FROM_TRAINING_SET,
        }

    assert stale() == {}
    os.utime(folder / "one.jsonl")
    assert stale() == {}, "other times alone change nothing"
    text = (folder / "one.jsonl").read_text()
    (folder / "one.jsonl").write_text(text.replace("八月", "九月"))
    assert stale() == stale_because(f"the files in {folder} have changed since")
    (folder / "one.jsonl").write_text(text)
    assert stale() == {}
    (folder / "two.txt").write_text("夜になると百を超える舟に灯がともる。")
    assert stale() == stale_because(f"the files in {folder} have changed since")
    for file in folder.iterdir():
        file.unlink()
    assert stale()["news_documents 000"].startswith(f"{folder} has no file that ends in")
    folder.rmdir()
    assert stale()["news_documents 000"] == f"{folder}: No such file or directory. All of {folder} has to be readable."


def test_settings_that_differ_from_the_root_are_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGPT_TEXT", "seed")
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 1
    assert "JGPT_TEXT=seed, but the data in it was made with clean" in result.output


def test_an_output_whose_check_failed_is_failed_until_the_check_passes(deployment: Deployment) -> None:
    articles = deployment.root.parquet("wikipedia_articles", DUMP, "001")
    record_verdict(articles, "pages_add_up", False, "9 articles in 12 pages")
    output = printed()
    assert "wikipedia_articles   1 done, 1 failed" in output
    assert f"{articles.label}: check pages_add_up failed: 9 articles in 12 pages" in output
    assert "next: fix what failed, then" in output
    with dg.DagsterInstance.get() as instance:
        add_dumps(instance, [DUMP])
        job = build_definitions(settings_of(deployment)).resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey("wikipedia_articles")]
        assert job.execute_in_process(instance=instance, asset_selection=keys, partition_key=articles.partition).success
    assert "wikipedia_articles   2 done" in printed()


def test_an_output_that_was_never_checked_is_not_done(deployment: Deployment) -> None:
    deployment.root.parquet("wikipedia_articles", DUMP, "001").verdicts_path.unlink()
    output = printed()
    assert "wikipedia_articles   1 done, 1 unchecked" in output
    assert f"wikipedia_articles {DUMP}|001: not checked yet: eligible_pages_have_rows, pages_add_up" in output
    assert f"next: jgpt run --dump {DUMP}" in output


def test_an_output_whose_input_was_made_again_is_stale(deployment: Deployment) -> None:
    first, second = (deployment.root.parquet("wikipedia_articles", DUMP, shard).path for shard in SHARDS)
    replace(first, second.read_bytes())
    found = states(deployment)
    expected = f"stale wikipedia_articles {DUMP}|000 has been made again since"
    assert found[f"wikipedia_segmented {DUMP}|000"] == expected


def test_articles_are_stale_if_the_dump_has_other_pages_now(deployment: Deployment) -> None:
    path = deployment.root.directory("wikipedia_dump", DUMP).path / "shards.json"
    plan = json.loads(path.read_text())
    plan["shards"][1]["sha256"] = "0" * 64
    replace(path, json.dumps(plan).encode())
    found = states(deployment)
    assert found[f"wikipedia_articles {DUMP}|000"] == "done"
    assert found[f"wikipedia_articles {DUMP}|001"] == "stale the dump has other pages for this shard now"


def test_a_missing_output_shows_the_failed_run_that_should_have_made_it(deployment: Deployment) -> None:
    articles = deployment.root.parquet("wikipedia_articles", DUMP, "001").path
    whole = articles.read_bytes()
    replace(articles, b"damaged")
    with dg.DagsterInstance.get() as instance:
        add_dumps(instance, [DUMP])
    failed = deployment.run(
        *("dagster", "asset", "materialize", "-m", "jgpt_dagster.definitions"),
        *("--select", "wikipedia_segmented", "--partition", f"{DUMP}|001"),
    )
    assert failed.code != 0
    replace(articles, whole)

    output = printed()
    assert "wikipedia_segmented  1 done, 1 failed" in output
    assert f"wikipedia_segmented {DUMP}|001: run " in output and f"wikipedia_articles {DUMP}|001" in output
    assert f"next: fix what failed, then jgpt run --dump {DUMP}" in output

    assert deployment.materialize("wikipedia_segmented", f"{DUMP}|001").error is None
    output = printed()
    assert "wikipedia_segmented  2 done" in output and "failed" not in output
    assert f"  next: jgpt run --dump {DUMP}\n" in output


def test_the_next_step_is_to_wait_for_a_run_in_progress(deployment: Deployment) -> None:
    with dg.DagsterInstance.get() as instance:
        failed = record(instance, "wikipedia_segmented", f"{DUMP}|001")
        instance.report_run_failed(failed, "out of memory")
        assert f"{DUMP}|001: run {failed.run_id}: " in printed()
        again = record(instance, "wikipedia_segmented", f"{DUMP}|001")
        output = printed()
        later = record(instance, "wikipedia_segmented", f"{DUMP}|001")
        instance.report_run_failed(later, "out of memory")
        output_after_a_later_failure = printed()
    assert "wikipedia_segmented  1 done, 1 running" in output
    assert f"next: wait for run {again.run_id}" in output
    assert output_after_a_later_failure == output


def test_a_training_that_was_cancelled_or_killed_says_where_it_stands_and_what_goes_on(deployment: Deployment) -> None:
    run_directory = deployment.data / ".scratch" / "pretrained_model" / f"dump={DUMP}" / "model=tiny"
    (run_directory / "checkpoints" / "step=00000011").mkdir(parents=True)
    (run_directory / "checkpoints" / "step=00000009").mkdir()
    stands = f"interrupted at step 11, goes on with: jgpt run --dump {DUMP}"
    with dg.DagsterInstance.get() as instance:
        cancelled = record(instance, "pretrained_model", f"{DUMP}|tiny")
        instance.report_run_canceled(cancelled, interruption_of(cancelled))
        assert f"pretrained_model {DUMP}|tiny: run {cancelled.run_id} was cancelled: {stands}\n" in printed()
        killed = record(instance, "pretrained_model", f"{DUMP}|tiny")
        # Nothing of its process is left, not even its lock.
        instance.add_run_tags(killed.run_id, {COMMAND_TAG: "0" * 32})
        (deployment.data / ".locks").mkdir(exist_ok=True)
        (deployment.data / ".locks" / f"command-{'0' * 32}.lock").touch()
        output = printed()
    assert f"run {killed.run_id}: The `jgpt run` that this run belonged to was killed" in output
    assert f"Its training was {stands}\n" in output


def test_a_full_disk_of_dagsters_database_is_told_by_every_command(
    deployment: Deployment, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(small_disk))
    (small_disk / "fill").write_bytes(b"0" * 900_000)
    for command in (["status"], ["config"], ["dumps", "add", LATER_DUMP]):
        result = CliRunner().invoke(main, command)
        if "add" in command:  # the others need nothing of Dagster
            assert result.exit_code == 1, result.output
            assert f"Error: Dagster's database (DAGSTER_HOME={small_disk}): the disk is full." in result.output
        assert "Traceback" not in result.output


def test_each_dump_has_its_own_status(deployment: Deployment) -> None:
    with dg.DagsterInstance.get() as instance:
        add_dumps(instance, [DUMP, LATER_DUMP])
    first, second = printed().split(f"\n{LATER_DUMP}\n")
    assert "wikipedia_dump       done" in first and "wikipedia_dump       missing" in second
    assert printed("--dump", DUMP) == first


def test_an_empty_root_shows_the_command_to_start_with(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_DATA", str(deployment.data.parent / "empty"))
    assert "jgpt run --dump latest" in printed()


def test_no_next_step_is_left_once_all_is_done(deployment: Deployment) -> None:
    done = [output for output in of_dump(deployment).outputs if output.state == "done"]
    assert next_step(Status(None, []), Status(DUMP, done), "tiny") == "nothing: the release is made"


def test_each_manifest_is_read_once_and_no_data(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 shards of several dumps are told of in a second."""
    read = list[Path]()

    def reading(path: Path) -> object:
        read.append(path)
        return read_manifest(path)

    monkeypatch.setattr("jgpt_dagster.storage.parquet.read_manifest", reading)
    monkeypatch.setattr("jgpt_dagster.storage.manifest.sha256_file", lambda path: pytest.fail(f"{path} was hashed"))
    for shard in shard_names(64)[2:]:
        for asset in ("wikipedia_articles", "wikipedia_segmented"):
            path = deployment.root.parquet(asset, DUMP, shard).path
            shutil.copy(path.with_name("shard=000.parquet"), path)
    outputs = deployment_status(settings_of(deployment, SHARDS="64"))
    assert len(outputs.status(DUMP, lambda: []).outputs) == 5 + 3 * 64
    assert len(read) == len(set(read)) == 2 * 64
