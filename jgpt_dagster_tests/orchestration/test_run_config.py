"""A run config file is read, and refused where an asset could not be run with it, before anything runs."""

from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from jgpt_dagster.definitions import defs
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.run_config import read_run_config


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("ops: {tokenizer: {config: {vocab: 300}}}", "tokenizer: there is no field 'vocab'"),
        ("ops: {tokenizer: {config: {vocab_size: 70000}}}", "tokenizer: vocab_size is 70000: Input should be less"),
        ("ops: {tokeniser: {config: {vocab_size: 3000}}}", "there is no asset 'tokeniser'; the assets are: "),
        ("ops: {tokenizer: {vocab_size: 3000}}", "tokenizer: expected `config: <field>: <value>`"),
        ("tokenizer: {vocab_size: 3000}", "expected nothing but `ops: "),
        ("", "expected nothing but `ops: "),
        ("- 1", "expected nothing but `ops: "),
        ("ops: [", "cannot be read as YAML"),
    ],
)
def test_run_config_that_does_not_fit_is_refused_by_name(tmp_path: Path, config: str, says: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(config)
    with pytest.raises(JgptError) as caught:
        read_run_config(defs.resolve_asset_graph(), path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)


def test_run_config_that_fits_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("ops: {tokenizer: {config: {vocab_size: 3000}}, release: {config: {}}}")
    expected = {"ops": {"tokenizer": {"config": {"vocab_size": 3000}}, "release": {"config": {}}}}
    assert read_run_config(defs.resolve_asset_graph(), path) == expected


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("ops: {pretrained_model: {config: {learning_rate: 2e-5, weight_decay: 1, tokens: 1e9}}}")
    config = read_run_config(defs.resolve_asset_graph(), path)["ops"]["pretrained_model"]["config"]
    expected = {"learning_rate": 2e-5, "weight_decay": 1.0, "tokens": 10**9}
    assert config == expected
    assert {name: type(value) for name, value in config.items()} == {
        name: type(value) for name, value in expected.items()
    }


def test_every_number_of_run_config_has_bounds() -> None:
    graph = defs.resolve_asset_graph()
    functions: list[Any] = [graph.assets_def_for_key(key).op.compute_fn for key in graph.toposorted_asset_keys]
    classes = {function.get_config_arg().annotation for function in functions if function.get_config_arg()}
    assert len(classes) > 5
    for config in classes:
        for name, field in config.model_fields.items():
            if {field.annotation, *get_args(field.annotation)} & {int, float} and get_origin(
                field.annotation
            ) is not dict:
                found = {bound for part in field.metadata for bound in ("ge", "gt", "le", "lt") if hasattr(part, bound)}
                assert found & {"ge", "gt"} and found & {"le", "lt"}, (config, name)
