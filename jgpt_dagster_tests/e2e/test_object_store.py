"""A data root on an object store, worked on by machines that share nothing else."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from upath import UPath

from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, SMALL_RUN, Deployment, sample_deployment
from jgpt_dagster_tests.support.s3_bucket import SECRET, s3_bucket


def materialize_text(deployment: Deployment, dump: str = DUMP) -> set[str]:
    """Bring everything up to the training set up to date; return the states that the runs report."""
    return {result.metadata["status"].value.partition(":")[0] for result in deployment.materialize_text(dump)}


def objects(url: str) -> dict[str, bytes]:
    """Return every object but the records of runs by its name below the root."""
    root = UPath(url, use_listings_cache=False)
    found = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith("run.json")]
    return {path.path.removeprefix(f"{root.path}/"): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[str, Mapping[str, str]]]:
    with s3_bucket() as (url, environment):
        yield url, environment


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory, mirror: Path, store: tuple[str, Mapping[str, str]]
) -> list[Deployment]:
    """Three machines over one bucket; the first has made everything up to the training set."""
    url, environment = store
    made = []
    for number in range(3):
        scratch = tmp_path_factory.mktemp(f"machine{number}")
        deployment = sample_deployment(scratch, mirror).with_settings(DATA=url, SCRATCH=str(scratch), SHARDS="1")
        made.append(Deployment(scratch, deployment.settings, environment))
    assert materialize_text(made[0]) == {"made"}
    return made


@pytest.mark.slow
def test_a_bucket_holds_the_bytes_of_a_local_root(
    machines: list[Deployment], store: tuple[str, Mapping[str, str]], tmp_path: Path, mirror: Path
) -> None:
    local = sample_deployment(tmp_path / "data", mirror).with_settings(SHARDS="1")
    materialize_text(local)
    remote = objects(store[0])
    verdicts = {name for name in remote if name.endswith("checks.json")}
    assert verdicts == {name for name, _ in local.paths() if name.endswith("checks.json")}
    assert {name: data for name, data in remote.items() if name not in verdicts} == local.files()
    assert not any(SECRET.encode() in data for data in remote.values())


@pytest.mark.slow
def test_a_takedown_asked_of_a_machine_that_has_made_nothing_finds_all(
    machines: list[Deployment], tmp_path: Path
) -> None:
    maker = machines[0]
    other = Deployment(tmp_path, {**maker.settings, "JGPT_SCRATCH": str(tmp_path)}, maker.environment)
    entry = ("exclude", "add", "--title", "水緒県", "--reason", "asked for", "--dry-run")
    found = other.invoke(*entry)
    assert "水緒県: 1 document\n" in found and "in 1 token files" in found
    assert found == maker.invoke(*entry)
    receipt = Path(other.invoke(*entry[:-1]).partition("receipt: ")[2].partition("\n")[0])
    assert "wikipedia_tokens" in receipt.read_text()
    held = [machine.try_invoke("exclude", "check") for machine in (other, maker)]
    assert held[0].code == held[1].code == 1 and held[0].output == held[1].output
    assert "wikipedia_tokens 20260101: 1 of" in held[0].output
    assert "stale from now on: nothing" in maker.invoke("exclude", "remove", "1")


@pytest.mark.slow
def test_another_machine_finds_all_current_and_trains_and_a_third_goes_on_from_its_model(
    machines: list[Deployment], store: tuple[str, Mapping[str, str]]
) -> None:
    before = objects(store[0])
    assert materialize_text(machines[1]) == {"verified"}
    assert objects(store[0]) == before

    training = SMALL_RUN["pretrained_model"] | {"steps": 2}
    assert machines[1].materialize("pretrained_model", f"{DUMP}|tiny", **training).error is None
    assert f"pretrained_model/dump={DUMP}/model=tiny/manifest.json" in objects(store[0])
    refused = machines[2].try_invoke("trace", "--dump", DUMP, "--step", "1")
    assert refused.code and "not on this machine" in refused.output
    assert f"jgpt run --dump {DUMP} --to training_set" in refused.output
    exclude = ("exclude", "add", "--title", "水緒県", "--reason", "asked for", "--dry-run")
    refused = machines[2].try_invoke(*exclude)  # nobody could tell whether the model has read it
    assert refused.code and f"jgpt run --dump {DUMP} --to training_set" in refused.output
    assert materialize_text(machines[2]) == {"verified"}
    assert "水緒県: 1 document\n" in machines[2].invoke(*exclude)
    assert "step 1, sample 0" in machines[2].invoke("trace", "--dump", DUMP, "--step", "1")
    assert materialize_text(machines[2], LATER_DUMP) == {"made", "verified"}
    assert machines[2].materialize("pretrained_model", f"{LATER_DUMP}|tiny", warm_start=True, **training).error is None
    remote = objects(store[0])
    first, second = (
        Manifest.from_dict(json.loads(remote[f"pretrained_model/dump={dump}/model=tiny/manifest.json"]))
        for dump in (DUMP, LATER_DUMP)
    )
    assert second.recipe.inputs[f"pretrained_model {DUMP}"] == first.data_sha256

    output = machines[2].invoke("status", "--dump", DUMP)
    assert "pretrained_model     done" in output and "training_set         done" in output
    refused = machines[2].try_invoke("dumps", "remove", DUMP)
    assert refused.code and "is kept for pretrained_model" in refused.output
    output = machines[2].invoke("dumps", "remove", "--force", DUMP)
    assert not any(DUMP in name for name in objects(store[0])) and "removed" in output
    assert SECRET not in output
