"""DeepSpeed's internals are touched in one module, and missing ones are an error that names them and the version."""

import ast
import pkgutil
import re
from importlib.metadata import requires
from pathlib import Path
from types import SimpleNamespace

import pytest

from jgpt_dagster.lm.training import deepspeed_internals
from jgpt_dagster.lm.training.deepspeed_internals import (
    CHECKED_VERSIONS,
    REQUIRED,
    REQUIRED_ON_CPU,
    require_engine_internals,
    require_internals,
)
from jgpt_dagster.lm.training.errors import TrainingError

PACKAGE = Path(deepspeed_internals.__file__).parents[2]


def test_the_installed_deepspeed_has_every_internal() -> None:
    require_internals(gpu=False)
    require_internals(gpu=True)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_internal_is_named_with_the_version_found_and_the_versions_that_work(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, _, attribute = name.rpartition(".")
    owner = pkgutil.resolve_name(path)
    for place in getattr(owner, "__mro__", (owner,)):
        if attribute in vars(place):
            monkeypatch.delattr(place, attribute)
    monkeypatch.setattr(deepspeed_internals, "version", lambda package: "0.20.1")
    with pytest.raises(TrainingError) as error:
        require_internals(gpu=True)
    assert str(error.value) == (
        f"DeepSpeed 0.20.1 lacks {name}, which training uses; it works with DeepSpeed {CHECKED_VERSIONS}. "
        f"Run: pip install 'deepspeed{CHECKED_VERSIONS}'"
    )


def test_what_only_a_cpu_run_uses_is_required_of_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepspeed_internals, "REQUIRED_ON_CPU", ("deepspeed.ops.no_such_name",))
    require_internals(gpu=True)
    with pytest.raises(TrainingError, match=r"lacks deepspeed\.ops\.no_such_name, which"):
        require_internals(gpu=False)
    assert REQUIRED_ON_CPU == ("deepspeed.ops.__compatible_ops__",)


def test_missing_attributes_of_an_engine_and_its_offloaded_optimizer_are_named() -> None:
    engine = SimpleNamespace(enable_backward_allreduce=True, optimizer=SimpleNamespace(optimizer_swapper=None))
    require_engine_internals(engine, offload=False)
    with pytest.raises(TrainingError, match=r"Stage3\(\)\.sub_group_to_group_id, .*fp32_partitioned_groups_flat"):
        require_engine_internals(engine, offload=True)
    with pytest.raises(TrainingError, match=r"DeepSpeedEngine\(\)\.enable_backward_allreduce"):
        require_engine_internals(SimpleNamespace(), offload=False)


def test_the_package_requires_the_versions_that_were_checked() -> None:
    (required,) = [line for line in requires("jgpt-dagster") or () if re.match(r"deepspeed\b", line)]
    assert set(required.removeprefix("deepspeed").split(",")) == set(CHECKED_VERSIONS.split(","))


def test_no_other_module_touches_a_private_attribute_of_deepspeed_or_its_objects() -> None:
    for path in (PACKAGE / "lm").rglob("*.py"):
        if path.name == "deepspeed_internals.py":
            continue
        private = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and re.search(r"\b(deepspeed|engine|zero|optimizer|swapper)\b", ast.unparse(node.value))
            and node.attr.startswith("_")
            and node.attr != "__name__"
        ]
        assert not private, f"{path}, line {private[0].lineno}: {ast.unparse(private[0])}"
