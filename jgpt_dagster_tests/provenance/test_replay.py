"""The steps between two kept checkpoints are repeated, and one other byte of the weights is found."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.lm.training.checkpoint_trust import read_signed_manifest, signed, signing_key
from jgpt_dagster.provenance.chain import Chain, Step
from jgpt_dagster.provenance.replay import Replayed, ReplayError, replay, trained_on
from jgpt_dagster.provenance.statement import Statement
from jgpt_dagster.provenance.verify_root import verify_root
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe
from jgpt_dagster.storage.sealed_json import write_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment

RUN = f"pretrained_model/dump={DUMP}/model=tiny"
WEIGHTS = "engine/mp_rank_00_model_states.pt"


@pytest.fixture
def copy(finished: Deployment, tmp_path: Path) -> DataRoot:
    """A copy of a data root, file by file, which may be changed."""
    data = tmp_path / "data"
    shutil.copytree(finished.data, data, ignore=shutil.ignore_patterns(".dagster", ".locks"))
    return DataRoot(data)


def last_checkpoint(root: DataRoot) -> Path:
    return root.path / ".scratch" / RUN / "checkpoints" / "step=00000008"


def forge(root: DataRoot) -> FileEntry:
    """Flip a bit of a weight in the last checkpoint and sign it again, as its owner can; return what was recorded."""
    checkpoint, key = last_checkpoint(root), signing_key(root.path)
    manifest = read_signed_manifest(checkpoint, key, root.path)
    content = bytearray((checkpoint / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / WEIGHTS).write_bytes(content)
    files = {**manifest.files, WEIGHTS: FileEntry.of(checkpoint / WEIGHTS)}
    write_sealed_json(checkpoint / MANIFEST, signed(Manifest(manifest.recipe, manifest.counts, files), key))
    return manifest.files[WEIGHTS]


def replayed(root: DataRoot, work: Path) -> Replayed:
    training_set = root.directory("training_set", DUMP).verified().data_sha256
    return replay(root, root.path / ".scratch", DUMP, "tiny", training_set, work)


@pytest.mark.slow
def test_the_default_of_a_later_version_for_the_initialization_changes_no_replay(
    copy: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copy.path / ".scratch" / RUN / "config.json"
    values = json.loads(config.read_text())
    del values["initializer_range"]  # as in the file of a run of an earlier version
    config.write_text(json.dumps(values))
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], initializer_range=0.3))
    (tmp_path / "work").mkdir()
    assert replayed(copy, tmp_path / "work").differing == ()


@pytest.mark.slow
def test_a_weight_with_one_other_byte_is_found_by_repeating_the_steps_that_led_to_it(
    copy: DataRoot, tmp_path: Path
) -> None:
    recorded = forge(copy)
    (finding,) = verify_root(copy, copy.path / ".scratch")  # the model names the other one
    assert (finding.kind, finding.output) == ("stale", f"pretrained_model {DUMP}|tiny")
    work = tmp_path / "work"
    work.mkdir()
    manifest = json.loads((last_checkpoint(copy) / MANIFEST).read_text())
    assert replayed(copy, work) == Replayed(4, 8, len(manifest["files"]), (WEIGHTS,))
    # All the others are the same bytes, and so is what this one was.
    assert sha256_file(work / "checkpoints" / "step=00000008" / WEIGHTS) == recorded.sha256


def test_a_replay_needs_two_whole_checkpoints_and_says_which_is_not(copy: DataRoot, tmp_path: Path) -> None:
    with open(last_checkpoint(copy) / WEIGHTS, "r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(ReplayError, match=r"holds 1 checkpoints .*replay needs two.*mp_rank_00_model_states"):
        replayed(copy, tmp_path)


def test_the_steps_are_those_of_the_released_model_and_not_of_the_one_that_it_began_with() -> None:
    def model(dump: str, inputs: dict[str, str]) -> Step:
        recipe = Recipe("pretrained_model", "1", inputs={f"training_set {dump}": f"of {dump}", **inputs})
        return Step(f"pretrained_model {dump}|tiny", Manifest(recipe, {}, {"weights": FileEntry(1, dump)}))

    first = model(DUMP, {})
    second = model(LATER_DUMP, {f"pretrained_model {DUMP}": first.manifest.data_sha256})
    recipe = Recipe("release", "1", inputs={f"pretrained_model {LATER_DUMP}": second.manifest.data_sha256})
    assert trained_on(Statement({}, recipe, "tiny", Chain([first, second]))) == (LATER_DUMP, f"of {LATER_DUMP}")
    with pytest.raises(ReplayError, match="does not carry its model"):
        trained_on(Statement({}, recipe, "tiny", Chain([first])))
