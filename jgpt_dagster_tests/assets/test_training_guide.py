"""The guide to training names every setting with its default."""

import re
from pathlib import Path

from jgpt_dagster.assets.pretraining_config import PretrainingConfig
from jgpt_dagster.lm.training.train_config import TrainConfig

GUIDE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


def settings_table() -> dict[str, str]:
    """Return the default of each setting, as the guide has it."""
    section = GUIDE.split("## Settings")[1].split("`config.json` has these additional fields")[0]
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", section, re.MULTILINE)
    return {name: default.strip("`") for names, default in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_guide_lists_every_setting_of_pretrained_model_with_its_default() -> None:
    fields = PretrainingConfig.model_fields
    defaults = {name: "–" if field.default is None else f"{field.default}" for name, field in fields.items()}
    assert {name: as_number(default) for name, default in settings_table().items()} == {
        name: as_number(default) for name, default in defaults.items()
    }


def test_the_guide_knows_every_field_of_a_training_configuration() -> None:
    alone = GUIDE.split("`config.json` has these additional fields")[1].split("\n\n")[0]
    assert TrainConfig.model_fields.keys() - settings_table().keys() == set(re.findall(r"`(\w+)`", alone))


def as_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
