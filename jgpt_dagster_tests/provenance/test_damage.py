"""What anybody finds damaged is shown with all that was made of it, and nothing else; once whole, it is current."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.damage import INTACT
from jgpt_dagster.storage.verdict import read_verdicts
from jgpt_dagster_tests.support.deployments import DUMP, Deployment
from jgpt_dagster_tests.support.sensor_ticks import Desk

OF_MODEL = {f"{asset} {DUMP}|tiny" for asset in ("pretrained_model", "evaluation", "release")}
TRAINING = {f"training_set {DUMP}", *OF_MODEL}


@pytest.fixture
def copy(finished: Deployment, tmp_path: Path) -> Deployment:
    return finished.copy(tmp_path / "data")


def flip(path: Path, place: int = 60) -> bytes:
    """Flip a bit of a file that other deployments may share; return what it was."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
    return data


def stale(deployment: Deployment) -> dict[str, str]:
    """Return what `jgpt status` says is not current, with the reason; not why something that is was made again."""
    found = {}
    for line in deployment.invoke("status").splitlines():
        label, _, reason = line.strip().partition(": ")
        if line.startswith("    ") and not label.startswith("and ") and not label.endswith(" made again"):
            found[label] = reason
    return found


def of_shard(corpus: str, partition: str, *stages: str) -> set[str]:
    return {f"{corpus}_{stage} {partition}" for stage in stages}


DAMAGE: dict[str, tuple[Callable[[Deployment], Path], str, set[str]]] = {
    "a shard of articles": (
        lambda deployment: deployment.root.parquet("wikipedia_articles", DUMP, "001").path,
        f"wikipedia_articles {DUMP}|001",
        of_shard("wikipedia", f"{DUMP}|001", "segmented", "tokens") | TRAINING,
    ),
    "a shard of tokens": (
        lambda deployment: deployment.root.directory("cc100_tokens", shard="000").path / "tokens.bin",
        "cc100_tokens 000",
        TRAINING,
    ),
    "the dump": (
        lambda deployment: next(deployment.root.directory("wikipedia_dump", DUMP).path.glob("*.xml.bz2")),
        f"wikipedia_dump {DUMP}",
        {
            label
            for shard in ("000", "001")
            for label in of_shard("wikipedia", f"{DUMP}|{shard}", "articles", "segmented", "tokens")
        }
        | TRAINING,
    ),
    "the tokenizer": (
        lambda deployment: deployment.root.directory("tokenizer").path / "tokenizer.json",
        "tokenizer",
        {
            *(f"wikipedia_tokens {DUMP}|{shard}" for shard in ("000", "001")),
            *(f"cc100_tokens {shard}" for shard in ("000", "001")),
            *TRAINING,
        },
    ),
    "a manifest": (
        lambda deployment: deployment.root.directory("evaluation", DUMP, model="tiny").path / "manifest.json",
        f"evaluation {DUMP}|tiny",
        {f"release {DUMP}|tiny"},
    ),
}


@pytest.mark.parametrize(("place", "label", "made_of_it"), DAMAGE.values(), ids=DAMAGE)
def test_one_flipped_byte_is_shown_with_exactly_what_was_made_of_it(
    copy: Deployment, place: Callable[[Deployment], Path], label: str, made_of_it: set[str]
) -> None:
    path = place(copy)
    whole = flip(path)
    assert copy.try_invoke("verify", "--root", copy.data).code == 1
    found = stale(copy)
    assert found[label].startswith("damaged: ") and str(path) in found[label]
    assert {*found} == {label, *made_of_it}
    assert all("is damaged" in found[each] or "is stale" in found[each] for each in made_of_it)
    path.write_bytes(whole)
    assert stale(copy) == {}


def test_a_run_that_reads_damage_marks_it_and_the_run_that_makes_it_again_clears_it(copy: Deployment) -> None:
    articles = copy.root.parquet("wikipedia_articles", DUMP, "000")
    before = articles.verified()
    flip(articles.path)
    assert stale(copy) == {}  # nothing has read it yet
    assert "holds data of sha256" in (copy.materialize("wikipedia_segmented", f"{DUMP}|000").error or "")
    assert stale(copy)[articles.label].startswith("damaged: ")
    made = copy.materialize("wikipedia_articles", f"{DUMP}|000")
    assert made.error is None and made.checks["is_current"]
    assert articles.verified() == before
    assert stale(copy) == {}
    assert read_verdicts(articles, before)[INTACT].passed


def failing(instance: dg.DagsterInstance, desk: Desk, cursor: str | None) -> tuple[dict[str, str], str | None]:
    """Return what a tick of the sensor says is not current, and its cursor."""
    result = desk.tick("currentness_sensor", cursor)
    events = [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
    assert all(event.severity == dg.AssetCheckSeverity.WARN and event.check_name == "is_current" for event in events)
    shown = {f"{event.asset_key.to_user_string()} {event.partition or ''}".strip(): event for event in events}
    return {label: event.description or "" for label, event in shown.items() if not event.passed}, result.cursor


def test_the_ui_is_told_of_what_has_become_damaged_and_whole_again(copy: Deployment) -> None:
    with dg.instance_for_test() as instance:
        desk = Desk(copy, instance)
        assert "Nothing has become stale" in desk.reason("currentness_sensor")
        path = copy.root.directory("cc100_tokens", shard="001").path / "tokens.bin"
        whole = flip(path)
        copy.try_invoke("verify", "--root", copy.data)
        told, cursor = failing(instance, desk, None)
        assert {*told} == {"cc100_tokens 001", *TRAINING}
        assert told["cc100_tokens 001"].startswith("cc100_tokens 001: damaged")
        assert "Nothing has become stale" in desk.reason("currentness_sensor", cursor)
        path.write_bytes(whole)
        result = desk.tick("currentness_sensor", cursor)
        assert len(result.asset_events) == len(told) and all(event.passed for event in result.asset_events)


def test_a_changed_setting_is_shown_as_exactly_as_damage(copy: Deployment) -> None:
    copy.invoke("config", "set", "training_set.validation_share=0.2", "--yes")
    with dg.instance_for_test() as instance:
        told, _ = failing(instance, Desk(copy, instance), None)
    assert {*told} == TRAINING
    assert "validation_share" in told[f"training_set {DUMP}"]


def test_a_mark_on_a_disk_that_takes_none_does_not_hide_the_damage(
    copy: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: Artifact = copy.root.directory("cc100_tokens", shard="000")
    flip(tokens.path / "tokens.bin")

    def refuse(*arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("jgpt_dagster.storage.damage.record_verdict", refuse)
    from jgpt_dagster.storage.artifact import ArtifactError

    with pytest.raises(ArtifactError, match=r"tokens\.bin has sha256"):
        tokens.verified()
