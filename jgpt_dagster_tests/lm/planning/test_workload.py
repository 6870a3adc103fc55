import pytest

from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster_tests.lm.planning.workloads import workload_of
from jgpt_dagster_tests.support.parameters import allocated_parameters


@pytest.mark.parametrize("name", PRESETS)
def test_the_parameters_are_those_of_the_model(name: str) -> None:
    expected = allocated_parameters(gpt2_config(name, 32_000, bos_id=1, eos_id=2))
    assert workload_of(name).parameters == expected
    assert name != "xl" or expected == 1_528_400_000


def test_settings_take_precedence_over_the_preset() -> None:
    workload = workload_of("small", context=256, global_batch=48, dtype="fp32")
    assert (workload.context, workload.global_batch, workload.dtype) == (256, 48, "fp32")
    assert workload.parameters == workload_of("small").parameters - (1024 - 256) * workload.width
