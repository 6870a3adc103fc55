"""The share that a small corpus holds out is decided by its first training set, and kept for all that follow."""

import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.data import validation_share
from jgpt_dagster.storage.sealed_json import read_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

pytestmark = pytest.mark.slow


@pytest.fixture
def new_root(finished: Deployment, tmp_path: Path) -> Deployment:
    """A root that has everything but a training set, and keeps no run config of one."""
    copy = finished.copy(tmp_path / "data")
    copy.root.directory("training_set", DUMP).remove()
    kept = {name: values for name, values in kept_config(copy).items() if name != "training_set"}
    (copy.data / "run_config.json").unlink()
    (copy.data / "run_config.json").write_text(json.dumps(kept))
    return copy


def kept_config(deployment: Deployment) -> dict[str, Any]:
    return read_sealed_json((deployment.data / "run_config.json").read_bytes())


def held_out(deployment: Deployment) -> int:
    return int(deployment.root.directory("training_set", DUMP).verified().counts["validation_documents"])


def test_the_first_training_set_of_a_small_corpus_holds_out_twenty_documents_and_the_root_keeps_the_share(
    new_root: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new_root.materialize("training_set", DUMP).error is None
    assert 20 <= held_out(new_root) <= 21
    share = kept_config(new_root)["training_set"]["validation_share"]
    assert share > 0.005
    # A later training set, of a larger corpus, goes on with it.
    monkeypatch.setattr(validation_share, "MINIMUM_HELD_OUT", 0)
    made = new_root.materialize("training_set", DUMP)
    assert (made.error, made.metadata["status"].value) == (None, "verified: complete and current")
    assert new_root.materialize("training_set", DUMP, force=True).error is None
    assert kept_config(new_root)["training_set"]["validation_share"] == share


def test_a_share_that_is_given_or_kept_is_left_alone(new_root: Deployment) -> None:
    assert new_root.materialize("training_set", DUMP, validation_share=0.02).error is None
    few = held_out(new_root)
    assert 0 < few < 20
    (new_root.data / "run_config.json").unlink()
    made = new_root.materialize("training_set", DUMP)
    assert (made.error, made.metadata["status"].value) == (None, "verified: complete and current")
    assert held_out(new_root) == few and kept_config(new_root)["training_set"]["validation_share"] == 0.02
