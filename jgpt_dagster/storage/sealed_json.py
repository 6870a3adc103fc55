"""Sealed JSON: a file whose last entry, `seal`, is the hash of the file, so that any changed byte of it is noticed.

The hash is that of the file's bytes with 64 question marks in its place, as in the footer of a Parquet file. It keeps
nobody from changing a file and its seal; a signature does. Files without a seal, as earlier versions wrote them, are
read as they are.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.manifest import parse_json

SEAL = "seal"
_PLACEHOLDER = b"?" * 64
# The end of a sealed file, whatever a damaged byte has made of the name of the last entry.
_SEALED_END = re.compile(rb'"[^"\n]{4}": "([^"\n]{64})"\n\}\n\Z')


def write_sealed_json(path: Path, value: Mapping[str, Any], *, internal: bool = False) -> None:
    """Write an object atomically as indented JSON with sorted keys and its seal, which comes last.

    `internal` decides who may read it (see `file_creation`). Raises ValueError for NaN and infinities.
    """
    with atomic_file(path, internal=internal) as stream:
        stream.write(seal(value))


def seal(value: Mapping[str, Any]) -> bytes:
    """Return the bytes of a sealed file. An entry `seal` of the value is replaced."""
    entries = {name: entry for name, entry in value.items() if name != SEAL}
    text = json.dumps(entries, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False)
    body = text.removesuffix("}").rstrip("\n")
    unsealed = f'{body}{"," if entries else ""}\n "{SEAL}": "'.encode() + _PLACEHOLDER + b'"\n}\n'
    start = len(unsealed) - len(_PLACEHOLDER) - len(b'"\n}\n')
    return unsealed[:start] + hashlib.sha256(unsealed).hexdigest().encode() + unsealed[start + len(_PLACEHOLDER) :]


def read_sealed_json(data: bytes) -> dict[str, Any]:
    """Return the entries of an object without its seal. Raises ValueError if it is damaged or no object."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    found, end = value.pop(SEAL, None), _SEALED_END.search(data)
    if found is None and end is None:
        return value
    if end is None or found != end[1].decode(errors="replace"):
        raise ValueError("its seal is damaged")
    unsealed = data[: end.start(1)] + _PLACEHOLDER + data[end.end(1) :]
    if hashlib.sha256(unsealed).hexdigest() != found:
        raise ValueError("it does not match its seal")
    return value
