"""Writes the tables of settings and of substitutions in the documents from the code: `make docs-tables`.

A table stands between `<!-- begin generated: NAME -->` and `<!-- end generated -->`. Its words are the descriptions of
the fields in `Settings` and in the run config classes of the assets, and of `SUBSTITUTIONS`; nothing else in a document
is touched.
"""

import inspect
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.text.substitutions import REPLACE_CHARACTERS, SUBSTITUTIONS
from jgpt_dagster.settings import Settings

PROJECT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/settings.md", "docs/training.md", "docs/normalization.md")

_BLOCK = re.compile(r"(<!-- begin generated: ([\w-]+) -->\n).*?(<!-- end generated -->)", re.DOTALL)

# Defaults that depend on the machine or on another variable.
_COMPUTED_DEFAULTS = {"data": "`./data`", "scratch": "under `JGPT_DATA`", "workers": "cores", "processes": "GPUs"}

# Words in the description of a variable that link to somewhere; paths are relative to the project.
_VARIABLE_LINKS = {
    "data": ("object store", "docs/object-store.md"),
    "contact": (
        "Wikimedia requires",
        "https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy",
    ),
    "folders": ("Corpora of your own", "docs/extending.md#add-a-corpus"),
    "hostfile": ("several hosts", "docs/several-machines.md#one-training-run-on-several-hosts"),
    "ui_hosts": ("Names under which browsers reach the UI", "docs/team-server.md#who-may-use-the-ui"),
}

# Sections of docs/training.md that say more about a field.
_TRAINING_SECTIONS = {
    "warm_start": "#warm-start",
    "early_stop": "#how-a-run-ends",
    "divergence_steps": "#how-a-run-ends",
    "stall_seconds": "#how-a-run-ends",
    "force": "#resume",
}

# What a table of run config cannot say itself, by the first asset of its section.
_RUN_CONFIG_NOTES = {
    "cc100_documents": "The `_documents` asset of a corpus of `JGPT_FOLDERS` takes the same fields; its `_segmented` "
    "and `_tokens` assets take those of CC-100.",
}


def main() -> None:
    """Rewrite the generated blocks of all documents."""
    for name in [name for name in os.environ if name.startswith("JGPT_")]:
        del os.environ[name]  # The tables show the graph of the defaults.
    for document in DOCUMENTS:
        path = PROJECT / document
        path.write_text(with_tables(document, path.read_text()))


def with_tables(document: str, text: str) -> str:
    """Return the text of a document with its generated blocks as the code has them now."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_TABLES[block[2]](document)}\n\n{block[3]}", text)


def variables(document: str) -> str:
    """Return the table of the environment variables; links are relative to `document`."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = _COMPUTED_DEFAULTS.get(name) or _shown(None if field.default_factory else field.default)
        rows.append((f"`JGPT_{name.upper()}`", default, _linked(name, field.description or "", document)))
    return _table(("variable", "default", "meaning"), rows)


def run_config(document: str) -> str:
    """Return a section for each group of assets that take the same run config, with a table of the fields."""
    groups: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for asset, rows in _run_config_rows().items():
        groups.setdefault(tuple(rows), []).append(asset)
    sections = []
    for fields, assets in groups.items():
        heading = "### " + ", ".join(f"`{asset}`" for asset in assets)
        note = [_RUN_CONFIG_NOTES[assets[0]]] if assets[0] in _RUN_CONFIG_NOTES else []
        sections += [heading, *note, _table(("field", "default", "meaning"), fields)]
    return "\n\n".join(sections)


def training_settings(document: str) -> str:
    """Return the table of the run config of `pretrained_model`, with links to the sections of the guide."""
    rows = []
    for name, default, meaning in _run_config_rows()["pretrained_model"]:
        section = _TRAINING_SECTIONS.get(name.strip("`"))
        rows.append((name, default, meaning + (f" ([more]({section}))" if section else "")))
    return _table(("setting", "default", "meaning"), rows)


def substitutions(document: str) -> str:
    """Return the table of what `clean` changes in text, each with an example before and after."""
    examples = ((change.change, change.example, change.apply(change.example)) for change in SUBSTITUTIONS)
    rows = [(change, f"`{_visible(before)}`", f"`{_visible(after)}`") for change, before, after in examples]
    return _table(("what changes", "example", "becomes"), rows)


def replaced_characters(document: str) -> str:
    """Return the table of single characters that `clean` replaces, by what they become."""
    sources: dict[str, str] = {}
    for character, replacement in dict(REPLACE_CHARACTERS.replacement).items():
        sources[replacement] = sources.get(replacement, "") + character
    alone = {replacement: found for replacement, found in sources.items() if len(found) == 1}
    rows = []
    for is_ascii in (True, False):
        shown = [replacement for replacement in alone if replacement.isascii() == is_ascii]
        rows.append((f"`{''.join(alone[replacement] for replacement in shown)}`", f"`{''.join(shown)}`"))
    for replacement, found in sources.items():
        if len(found) > 1:
            rows.append((", ".join(f"`{character}` U+{ord(character):04X}" for character in found), f"`{replacement}`"))
    return _table(("characters", "become"), rows)


def _visible(text: str) -> str:
    """Return `text` with the code points of characters that cannot be seen or that change the one before."""
    shown = [
        character
        if character == " " or (character.isprintable() and not unicodedata.combining(character))
        else f"<U+{ord(character):04X}>"
        for character in text
    ]
    return "".join(
        "<U+0020>" if part == " " and place in (0, len(shown) - 1) else part for place, part in enumerate(shown)
    )


_TABLES = {
    "variables": variables,
    "run-config": run_config,
    "training-settings": training_settings,
    "substitutions": substitutions,
    "replaced-characters": replaced_characters,
}


def _run_config_rows() -> Mapping[str, list[tuple[str, str, str]]]:
    """Return the cells of each field of each asset's run config."""
    from jgpt_dagster.definitions import defs

    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): list(_fields(graph.assets_def_for_key(key))) for key in graph.toposorted_asset_keys}


def _fields(asset: Any) -> Iterator[tuple[str, str, str]]:
    if (given := asset.op.compute_fn.get_config_arg()) is None:
        return
    # The defaults of the class: the Launchpad shows those of a data root and a model.
    defaults = inspect.unwrap(given.annotation)().model_dump()
    for name, field in asset.op.config_schema.as_field().config_type.fields.items():
        yield f"`{name}`", _shown(defaults[name]), field.description


def _linked(name: str, description: str, document: str) -> str:
    if name not in _VARIABLE_LINKS:
        return description
    words, target = _VARIABLE_LINKS[name]
    if description.count(words) != 1:
        raise ValueError(f"the description of {name} does not hold {words!r} once: {description!r}")
    relative = target.removeprefix("docs/") if document.startswith("docs/") else target
    return description.replace(words, f"[{words}]({relative})")


def _shown(default: object) -> str:
    return "–" if default in (None, "", ()) else f"`{default}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head_line, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, *rows))
    return "\n".join([head_line, "|---" * len(head) + "|", *body])


if __name__ == "__main__":
    main()
