"""`corpus.yaml` in a folder of text files: the name of the corpus, the licence of its text, and where it comes from.

Whoever may write to the folder writes this file too, so it is read with limits, never through a link that leads out.
"""

from collections.abc import Hashable
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from jgpt_dagster.corpus.web.text_folder import RefusedFile, open_below
from jgpt_dagster.errors import JgptError

DESCRIPTION = "corpus.yaml"

_MAX_BYTES = 1 << 16
_MAX_CHARACTERS = 1_000


class CorpusDescriptionError(JgptError):
    """A `corpus.yaml` that cannot be read, or does not say what it must."""


@dataclass(frozen=True)
class CorpusDescription:
    """What a folder says of itself; `licence` is an identifier such as `cc-by-4.0`, in lower case."""

    name: str
    licence: str
    source: str


_FIELDS = tuple(field.name for field in fields(CorpusDescription))
_EXAMPLE = "name: Harbour News\nlicence: cc-by-4.0\nsource: https://example.org/news"


def read_description(folder: Path) -> CorpusDescription | None:
    """Return what the `corpus.yaml` of a folder says; None if it has none. The spelling `license` is read too.

    Raises CorpusDescriptionError, with the file and what it should hold, if it is malformed.
    """
    path = folder / DESCRIPTION
    try:
        with open_below(folder, path) as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (RefusedFile, OSError) as error:
        raise _error(path, str(error)) from error
    if len(content) > _MAX_BYTES:
        raise _error(path, f"it has more than {_MAX_BYTES:,} bytes")
    try:
        values = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _error(path, f"it is not YAML ({str(error).splitlines()[0]})") from error
    return _description(path, values)


def _description(path: Path, values: object) -> CorpusDescription:
    if not isinstance(values, dict):
        raise _error(path, "it is not a list of fields")
    named: dict[Hashable, object] = {"licence" if key == "license" else key: value for key, value in values.items()}
    if len(named) < len(values):
        raise _error(path, "it has `licence` and `license`")
    if unknown := sorted(str(key) for key in named.keys() - {*_FIELDS}):
        raise _error(path, f"it has a field {unknown[0]!r:.80}")
    texts = dict[str, str]()
    for field in _FIELDS:
        value = named.get(field)
        if not isinstance(value, str) or not value.strip():
            raise _error(path, f"its {field} is missing" if value is None else f"its {field} is no text")
        if len(value) > _MAX_CHARACTERS:
            raise _error(path, f"its {field} has more than {_MAX_CHARACTERS:,} characters")
        texts[field] = " ".join(value.split())
    return CorpusDescription(**texts | {"licence": texts["licence"].lower().replace(" ", "-")})


def _error(path: Path, problem: str) -> CorpusDescriptionError:
    return CorpusDescriptionError(
        f"{path}: {problem}. It must have the fields {', '.join(_FIELDS)}, each a text, such as\n{_EXAMPLE}"
    )
