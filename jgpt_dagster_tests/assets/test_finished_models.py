"""Models have names: they stand side by side, and a finished one stays until somebody asks to train it again."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.assets import pretrained_model
from jgpt_dagster.assets.pretraining_config import PretrainingConfig, training_config
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.catalog.training_data_links import unused_links
from jgpt_dagster.lm.training.train_config import TrainConfigError
from jgpt_dagster.orchestration.existing_models import report_existing_models
from jgpt_dagster.orchestration.partitions import add_dumps
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.sealed_json import read_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment, in_process_instance

pytestmark = pytest.mark.slow

KEY = f"{DUMP}|tiny"
TRAINING = SMALL_RUN["pretrained_model"]


@pytest.fixture
def deployment(finished: Deployment, tmp_path: Path) -> Deployment:
    return finished.copy(tmp_path / "data")


def model_files(deployment: Deployment, model: str = "tiny") -> dict[str, int]:
    return {name: mtime for name, mtime in deployment.mtimes().items() if f"/model={model}/" in name}


def remake(artifact: DirectoryArtifact) -> None:
    """Change the identity of an output's data, as making it again from other inputs does."""
    manifest = read_sealed_json((artifact.path / "manifest.json").read_bytes())
    (artifact.path / "added").write_text("new")
    manifest["files"]["added"] = {
        "size": 3,
        "sha256": "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437",
    }
    (artifact.path / "manifest.json").unlink()
    write_json(artifact.path / "manifest.json", manifest)


def test_two_models_of_a_dump_stand_side_by_side(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """A warm start that finds no model of the same size says so: in the log, on the terminal and in the metadata."""
    before = model_files(deployment)
    in_process_instance().add_dynamic_partitions("model", ["tiny-lr3"])
    short = {"preset": "tiny", "steps": 3, "warmup_steps": 0, "context": 32, "warm_start": "auto"}
    made = deployment.materialize("pretrained_model", f"{DUMP}|tiny-lr3", **TRAINING | short)
    assert made.error is None
    why = f"from scratch: pretrained_model {KEY} has another architecture (n_positions 64, not 32)"
    assert made.metadata["start"].value == why
    assert f"pretrained_model {DUMP}|tiny-lr3: training starts {why}" in capsys.readouterr().out
    again = deployment.materialize("pretrained_model", f"{DUMP}|tiny-lr3")
    assert (again.error, again.metadata["start"].value) == (None, why)
    assert model_files(deployment) == before
    other = deployment.root.directory("pretrained_model", DUMP, model="tiny-lr3").verified()
    assert (other.recipe.settings["model"], other.recipe.settings["steps"]) == ("tiny", 3)
    status = deployment.with_settings(MODEL="tiny-lr3").invoke("status", "--dump", DUMP)
    assert "pretrained_model     tiny-lr3 done, tiny done" in status
    assert "release              tiny-lr3 missing, tiny done" in status


def test_a_name_of_no_preset_needs_one() -> None:
    with pytest.raises(TrainConfigError, match=r"'mine' is the name of no preset.*tiny, small, medium, large, xl"):
        training_config(PretrainingConfig(), "mine", training_set=Path(), data_root=Path(), output=Path())


def test_an_upgraded_library_makes_a_model_stale_and_is_no_reason_to_train_it_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model_files(deployment)
    monkeypatch.setattr(pretrained_model, "library_versions", lambda *names: dict.fromkeys(names, "99"))
    made = deployment.materialize("pretrained_model", KEY, **TRAINING)
    assert made.error is None and model_files(deployment) == before
    assert "torch was" in made.metadata["stale"].value and "is 99" in made.metadata["stale"].value


def test_another_setting_than_the_finished_models_is_refused_and_names_the_ways_out(deployment: Deployment) -> None:
    before = model_files(deployment)
    error = deployment.materialize("pretrained_model", KEY, **TRAINING | {"seed": 7}).error
    assert error is not None
    assert "seed 0, and this run asks for 7" in error and "JGPT_MODEL" in error
    assert "jgpt config set pretrained_model.seed=7" in error
    assert model_files(deployment) == before
    deployment.invoke("config", "set", "pretrained_model.seed=7", "--yes")
    error = deployment.materialize("pretrained_model", KEY, **TRAINING | {"seed": 7}).error
    assert error is not None and "was trained with seed 0, and this run asks for 7" in error and "--retrain" in error
    assert model_files(deployment) == before


def test_a_training_set_that_was_made_again_leaves_model_evaluation_and_release(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model_files(deployment)
    remake(deployment.root.directory("training_set", DUMP))
    made = deployment.materialize("pretrained_model", KEY)
    told = f"pretrained_model {KEY} is stale and stays as it is: training_set {DUMP} has been made again: it was "
    assert made.error is None and told in (said := capsys.readouterr().out)
    assert f"  jgpt run --dump {DUMP} --retrain\n" in said and "  export JGPT_MODEL=tiny-2\n" in said
    assert "  jgpt config set pretrained_model.preset=tiny pretrained_model.context=64\n" in said
    assert f"  jgpt run --dump {DUMP} --warm-start auto" in said
    for asset in MODEL_ASSETS:
        made = deployment.materialize(asset, KEY, **SMALL_RUN.get(asset, {}))
        assert made.error is None, made
    assert model_files(deployment) == before
    assert "training_set 20260101 has been made again since" in deployment.invoke("status", "--dump", DUMP)


def test_a_model_is_evaluated_and_released_with_what_it_was_trained_on(deployment: Deployment) -> None:
    outputs = [deployment.root.directory(asset, DUMP, model="tiny") for asset in MODEL_ASSETS]
    _, evaluation, release = outputs
    before = [output.verified().data_sha256 for output in outputs]
    remake(deployment.root.directory("training_set", DUMP))
    remake(deployment.root.directory("tokenizer"))
    for output in deployment.root.path.glob("*_tokens/**/tokens.bin"):
        output.unlink()
    for asset, made in (("evaluation", evaluation), ("release", release)):
        made.remove()
        assert deployment.materialize(asset, KEY).error is None
    assert [output.verified().data_sha256 for output in outputs] == before


def test_nothing_is_made_of_a_model_and_of_data_that_it_was_not_trained_on(deployment: Deployment) -> None:
    """The links of a model that an earlier version trained may be missing."""
    shutil.rmtree(deployment.data / "trained_on")
    remake(deployment.root.directory("training_set", DUMP))
    remake(deployment.root.directory("tokenizer"))
    deployment.root.directory("release", DUMP, model="tiny").remove()
    error = deployment.materialize("release", KEY).error
    assert error is not None and "training_set 20260101 has been made again since" in error
    deployment.root.directory("evaluation", DUMP, model="tiny").remove()
    error = deployment.materialize("evaluation", KEY).error
    assert error is not None and "has been made again since pretrained_model 20260101|tiny was trained" in error


def test_a_finished_model_without_links_gets_them_as_long_as_its_training_set_is_there(deployment: Deployment) -> None:
    shutil.rmtree(deployment.data / "trained_on")
    assert deployment.materialize("pretrained_model", KEY).error is None
    (links,) = (deployment.data / "trained_on").glob("dump=*/*")
    linked = {file.relative_to(links) for file in links.rglob("tokens.bin")}
    assert linked == {file.relative_to(deployment.data) for file in deployment.data.glob("*_tokens/**/tokens.bin")}
    assert all((links / name).samefile(deployment.data / name) for name in linked)


def test_links_go_once_no_model_was_trained_on_them(deployment: Deployment) -> None:
    assert list(unused_links(deployment.root, deployment.data)) == []
    deployment.root.directory("pretrained_model", DUMP, model="tiny").remove()
    (links,) = (deployment.data / "trained_on").glob("dump=*/*")
    assert list(unused_links(deployment.root, deployment.data)) == [(DUMP, links)]


def test_a_damaged_model_is_not_replaced_by_one_of_another_training_set(deployment: Deployment) -> None:
    weights = deployment.root.directory("pretrained_model", DUMP, model="tiny").path / "model" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.unlink()
    weights.write_bytes(damaged)
    before = model_files(deployment)
    remake(deployment.root.directory("training_set", DUMP))
    error = deployment.materialize("pretrained_model", KEY).error
    assert error is not None and "is damaged" in error and error.endswith(f"jgpt run --dump {DUMP} --retrain")
    assert model_files(deployment) == before


def test_the_card_of_a_kept_model_names_the_corpora_that_it_was_trained_on(
    deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "one.txt").write_text("港の祭りは毎年八月の終わりに開かれる。")
    longer = deployment.with_settings(FOLDERS=f"news={tmp_path / 'news'}")
    before = model_files(deployment)
    assert longer.materialize("release", KEY).error is None
    assert model_files(deployment) == before
    release = deployment.root.directory("release", DUMP, model="tiny")
    card = (release.path / "README.md").read_text()
    release.remove()
    assert longer.materialize("release", KEY).error is None
    assert (release.path / "README.md").read_text() == card
    remake(deployment.root.directory("training_set", DUMP))
    shutil.rmtree(deployment.data / "trained_on")
    assert longer.materialize("release", KEY).error is None
    release.remove()
    error = longer.materialize("release", KEY).error
    assert error is not None and "cannot say what it was trained on" in error


def test_models_on_disk_that_dagster_has_no_record_of_are_reported_once(finished: Deployment) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        report_existing_models(instance, finished.root)
        assert not instance.get_materialized_partitions(dg.AssetKey("release")), "a dump that was removed stays away"
        add_dumps(instance, [DUMP])
        for _ in range(2):
            report_existing_models(instance, finished.root)
        for asset in MODEL_ASSETS:
            records = instance.fetch_materializations(dg.AssetKey(asset), limit=10).records
            assert [record.partition_key for record in records] == [KEY]
        assert instance.get_dynamic_partitions("model") == ["tiny"]
