"""Rules for templates in a file of the data root, which go before those of `template_rendering` and need no code.

The file maps the name of a template to `silent`, `hole` or `shows` with an argument:

    国旗アイコン: silent
    現在の人口: hole
    みなし訳: shows 1
    注釈付き: shows text, 1
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.hashing import sha256_value

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath

FILE = "templates.yaml"
"""The name of the file in a data root."""

_SHOWS = re.compile(r"shows\s+(\S.*)")
_MAX_BYTES = 4 << 20


class TemplateRulesError(JgptError):
    """The file with rules for templates cannot be read; the message names it, the rule and what is expected."""


class TemplateRule(NamedTuple):
    """What a template shows: the first of the named arguments that is not blank, or nothing.

    `is_hole` says that it shows something that is not known here, so that its sentence is left out.
    """

    shows: tuple[str, ...] = ()
    is_hole: bool = False


TemplateRules = Mapping[str, TemplateRule]
"""Rules by the name of the template, as `template_name` returns it."""


def template_name(spelled: str) -> str:
    """Return the name of a template in lower case, with blanks for underscores and without its namespace."""
    name = " ".join(spelled.replace("_", " ").lower().split())
    return name.removeprefix("template:").removeprefix("テンプレート:")


def read_rules(root: "Path | UPath") -> TemplateRules:
    """Return the rules of a data root; none if it has no file of them.

    Raises TemplateRulesError, ObjectStoreError if the store of the root cannot be reached.
    """
    from jgpt_dagster.storage.object_store import read_bytes  # this and YAML take longer to load than all of cleaning

    path = root / FILE
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return {}
    return parse_rules(data, str(path))


def rules_setting(rules: TemplateRules) -> dict[str, str]:
    """Return what recipes record of rules: their hash, or nothing where there are none."""
    return {FILE: sha256_value(sorted(rules.items()))} if rules else {}


def parse_rules(data: bytes, source: str) -> TemplateRules:
    """Return the rules of a YAML document; `source` names it in errors. Raises TemplateRulesError."""
    import yaml

    if len(data) > _MAX_BYTES:
        raise TemplateRulesError(f"{source} has {len(data):,} bytes, more than {_MAX_BYTES:,}.")
    try:
        node = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise TemplateRulesError(f"{source} is no YAML in UTF-8: {error}") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise TemplateRulesError(f"{source}: expected lines such as `name of a template: silent`.")
    rules: dict[str, TemplateRule] = {}
    for key, value in node.value:
        place = f"{source}, line {key.start_mark.line + 1}"
        if not (isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)):
            raise TemplateRulesError(f"{place}: expected the name of a template and `silent`, `hole` or `shows 1`.")
        name = template_name(key.value)
        if not name or name in rules:
            raise TemplateRulesError(f"{place}: {'no name' if not name else f'a second rule for {name!r}'}.")
        rules[name] = _parse_rule(value.value.strip(), f"{place}, template {key.value!r}")
    return rules


def _parse_rule(text: str, place: str) -> TemplateRule:
    if text == "silent":
        return TemplateRule()
    if text == "hole":
        return TemplateRule(is_hole=True)
    shows = _SHOWS.fullmatch(text)
    names = [name.strip() for name in shows[1].split(",")] if shows else []
    if not names or not all(names):
        raise TemplateRulesError(
            f"{place}: {text!r} is no rule. Expected `silent` (it shows nothing), `hole` (it shows what is not in the "
            "page, so its sentence is left out), or `shows` and the number or name of the argument that it shows, such "
            "as `shows 1` or `shows text, 1` (the first that is not blank)."
        )
    return TemplateRule(shows=tuple(names))
