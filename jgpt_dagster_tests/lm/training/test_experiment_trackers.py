import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.training.experiment_trackers import TENSORBOARD, TrackerError, open_trackers


def track(run: Path, done: int, steps: range, loss: float, wandb_project: str | None = None) -> None:
    trackers = open_trackers(run, done, wandb_project)
    for step in steps:
        for tracker in trackers:
            tracker.log(step, {"loss": loss})
    for tracker in trackers:
        tracker.close()


def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(tmp_path, 0, range(1, 5), 2.5)
    time.sleep(1.1)  # files are read in the order of the second in which they were begun
    track(tmp_path, 2, range(3, 6), 1.5)
    shown = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload()
    assert [(event.step, event.value) for event in shown.Scalars("loss")] == [
        (1, 2.5), (2, 2.5), (3, 1.5), (4, 1.5), (5, 1.5)
    ]  # fmt: skip
    track(tmp_path, 0, range(1, 2), 2.5)
    shown = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload()
    assert [event.step for event in shown.Scalars("loss")] == [1], "a new run discards another's"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_a_resumed_run_continues_its_wandb_run_and_a_new_one_starts_another(offline: None, tmp_path: Path) -> None:
    track(tmp_path, 0, range(1, 4), 2.5, "project")
    track(tmp_path, 2, range(3, 6), 1.5, "project")
    track(tmp_path, 0, range(1, 2), 9.5, "project")
    runs = [[*history(path)] for path in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))]
    (third, new), (first, begun), (second, gone_on) = sorted(runs, key=lambda run: run[1][-1])
    assert (begun, gone_on, new) == ([(1, 2.5), (2, 2.5), (3, 2.5)], [(3, 1.5), (4, 1.5), (5, 1.5)], [(1, 9.5)])
    assert first == second != third


def history(path: Path) -> Iterator[Any]:
    """Yield the id of an offline run and its losses by step."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    store, losses = DataStore(), []
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = Record.FromString(data)
        values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        if record.run.run_id:
            run_id = record.run.run_id
        if "loss" in values:
            losses.append((int(values["_step"]), float(values["loss"])))
    yield from (run_id, losses)


def test_without_the_wandb_package_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrackerError, match=r"pip install 'jgpt-dagster\[wandb\]'"):
        open_trackers(tmp_path, 0, "project")
    assert open_trackers(tmp_path, 0, None)


def test_without_a_wandb_key_the_error_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(TrackerError, match="wandb login"):
        open_trackers(tmp_path, 0, "project")
