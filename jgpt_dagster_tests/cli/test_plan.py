"""A plan needs no training set, and the presets can be read off."""

import pytest

from jgpt_dagster.cli.models import count_words
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster_tests.support.deployments import Deployment


def test_a_model_is_sized_before_there_is_anything_to_train_on(deployment: Deployment) -> None:
    command = ("plan", "--tokens", "10B", "--model", "xl", "--hardware", "8xa100-80", "--price", "2")
    lines = deployment.invoke(*command).splitlines()
    rows = {line[:28].strip(): line[28:].strip() for line in lines}
    assert rows["tokens"] == "10,000,269,312" and rows["hardware"] == "8xa100-80"
    assert rows["time"].endswith(" hours") and rows["cost"].endswith("at 2 a GPU-hour")
    assert not deployment.data.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Give --dump DATE for a training set that is there, or --tokens such as 10B"),
        (["--tokens", "10X"], "'10X' is no number of tokens"),
        (["--tokens", "0"], "'0' is no number of tokens"),
        (["--tokens", "1e9", "--model", "Huge!"], "'Huge!' is not a model's name"),
        (["--tokens", "1e9", "--model", "huge"], "'huge' is the name of no preset"),
        (["--dump", "20261301"], "20261301 is not the date of a day"),
        (["--dump", "20250101"], "jgpt run --dump 20250101 --to training_set"),
        (["--tokens", "1e9", "--mfu", "nan"], "'nan' is no finite number"),
        (["--tokens", "1e9", "--price", "inf"], "'inf' is no finite number"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(deployment: Deployment, options: list[str], says: str) -> None:
    refused = deployment.try_invoke("plan", *options)
    assert refused.code and says in refused.output


def test_every_preset_is_shown_with_its_size(deployment: Deployment) -> None:
    head, *rows, note = deployment.invoke("models").splitlines()
    assert "8xa100-80" in note and len(note) <= 80
    assert [row.split()[0] for row in rows] == list(PRESETS)
    assert len({len(row) for row in (head, *rows)}) == 1 and len(head) <= 80
    assert [count_words(count) for count in (925_184, 1_528_400_000, 30_600_000_000, 12)] == [
        "925 K",
        "1.53 B",
        "30.6 B",
        "12",
    ]
