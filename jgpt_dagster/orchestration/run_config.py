"""Run config: its files, and what is told of wrong values in it.

Files are in Dagster's YAML form: `ops: <asset>: config: <field>: <value>`.
"""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml
from pydantic import ValidationError

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.told_failure import ToldFailure
from jgpt_dagster.runtime.number_bounds import problem_text

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph


def read_run_config(graph: "AssetGraph", path: Path) -> dict[str, Any]:
    """Return the run config in a file, checked against the assets of a graph.

    Values are converted to the types of their fields, which Dagster does not do: 1e9 becomes an integer where one is
    expected. Raises JgptError, naming the file and every wrong field, if an asset cannot be run with it.
    """
    try:
        content = yaml.load(path.read_text(), _YamlLoader)  # noqa: S506  # a SafeLoader with one more type
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise JgptError(f"{path} cannot be read as YAML: {error}") from error
    ops = content.get("ops") if isinstance(content, dict) and content.keys() == {"ops"} else None
    if not isinstance(ops, dict):
        raise JgptError(f"{path}: expected nothing but `ops: <asset>: config: <field>: <value>`, found {content!r}")
    return {"ops": check_run_config(graph, ops, str(path))}


def read_value(text: str) -> Any:
    """Return a value written in YAML. Raises JgptError."""
    try:
        return yaml.load(text, _YamlLoader)  # noqa: S506  # it derives from the safe loader
    except yaml.YAMLError as error:
        raise JgptError(f"{text!r} cannot be read as YAML: {error}") from error


def check_run_config(graph: "AssetGraph", ops: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return run config by asset, with values converted to the types of their fields; `source` names it in errors.

    Raises JgptError, naming every wrong field.
    """
    read, problems = {}, []
    for name, value in ops.items():
        try:
            read[name] = {"config": _read_config(graph, name, value)}
        except JgptError as error:
            problems += str(error).splitlines()
    if problems:
        raise JgptError("\n".join(f"{source}: {problem}" for problem in problems))
    return read


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Reads `2e-5` as a number, as YAML 1.2 does; PyYAML implements YAML 1.1, where it is a string."""


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _read_config(graph: "AssetGraph", name: str, value: Any) -> dict[str, Any]:
    """Return the config of an asset below `ops`. Raises JgptError with a line for each problem."""
    known = {key.to_user_string(): key for key in graph.toposorted_asset_keys}
    if name not in known:
        raise JgptError(f"there is no asset {name!r}; the assets are: {', '.join(known)}")
    fields = value.get("config") if isinstance(value, dict) and value.keys() == {"config"} else None
    if not isinstance(fields, dict):
        raise JgptError(f"{name}: expected `config: <field>: <value>`, found {value!r}")
    function: Any = graph.assets_def_for_key(known[name]).op.compute_fn
    config_class = inspect.unwrap(function.get_config_arg().annotation)
    problems = [f"{name}: there is no field {field!r}" for field in fields if field not in config_class.model_fields]
    try:
        config = config_class.model_validate(fields)
    except ValidationError as error:
        problems += _problems(name, config_class, error)
    if problems:
        raise JgptError("\n".join(problems))
    return dict(config.model_dump(include=set(fields)))


def _problems(name: str, config_class: type[dg.Config], error: ValidationError) -> list[str]:
    """Return a line for each wrong field of the config of an asset."""
    return [
        f"{name}: {'.'.join(map(str, problem['loc']))} is {problem['input']!r}: "
        f"{problem_text(problem, config_class.model_fields.get('.'.join(map(str, problem['loc']))))}"
        for problem in error.errors()
    ]


def told_config(name: str, config_class: type[dg.Config]) -> type[dg.Config]:
    """Return the config class of an asset whose wrong values fail a run with a line for each, and no traceback.

    Dagster makes the config before it calls the function of the asset. `inspect.unwrap` returns the class itself.
    """

    class ToldConfig(config_class):  # type: ignore[misc,valid-type]  # a class of the caller's
        __doc__ = config_class.__doc__

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                wrong = "\n".join(_problems(name, config_class, error))
                raise ToldFailure(f"the run config is wrong: {wrong}\nCorrect it and launch the run again.") from None

    ToldConfig.__name__ = ToldConfig.__qualname__ = config_class.__name__
    ToldConfig.__wrapped__ = config_class
    return ToldConfig
