"""The presets and their names."""

from typing import get_args

from jgpt_dagster.lm.model.presets import PRESETS, PresetName


def test_every_name_that_a_setting_may_take_is_a_preset() -> None:
    assert get_args(PresetName) == tuple(PRESETS)
