"""Names that become part of a path: the forms of partition keys, and the one function that joins names to a directory.

Partition keys come from the UI, labels and file names from manifests in a bucket. None of them may lead elsewhere.
"""

import re
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from jgpt_dagster.errors import JgptError

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath

    PathT = TypeVar("PathT", bound=Path | UPath)

KeyKind = Literal["dump", "shard", "model", "name"]

_NAME = re.compile("[a-z0-9][a-z0-9._-]{0,62}")
_NAME_RULE = "Names have up to 63 of the characters a-z, 0-9, '.', '_' and '-', and begin with a letter or a digit."
_FORMS: dict[KeyKind, tuple[re.Pattern[str], str]] = {
    "dump": (re.compile("[0-9]{8}"), "a dump date. Dumps are named by date as YYYYMMDD, such as 20250801."),
    "shard": (re.compile("[0-9]{3}"), "a shard. Shards are named by number as 000, 001 and so on."),
    "model": (_NAME, f"a model's name. {_NAME_RULE}"),
    "name": (_NAME, f"the name of an evaluated model. {_NAME_RULE}"),
}

# The longest file name on Linux file systems, in bytes.
_LONGEST_NAME = 255


class UnsafeNameError(JgptError):
    """A name that is not what it should be, and so might lead to another path."""


def has_form(kind: KeyKind, value: str) -> bool:
    """Return whether `value` has the exact form of a dump date, shard or name."""
    return _FORMS[kind][0].fullmatch(value) is not None


def require_form(kind: KeyKind, value: str) -> str:
    """Return `value`. Raises UnsafeNameError unless it has the exact form of a dump date, shard or name."""
    if not has_form(kind, value):
        raise UnsafeNameError(f"{value!r} is not {_FORMS[kind][1]}")
    return value


def child_path(directory: "PathT", *names: str) -> "PathT":
    """Return the path below `directory` that `names` give, each the name of one directory or file.

    Raises UnsafeNameError for a name that is empty, `.` or `..`, holds a separator or a control character, or is too
    long for a file system.
    """
    for name in names:
        if (
            name in ("", ".", "..")
            or any(character in "/\\" or not character.isprintable() for character in name)
            or len(name.encode(errors="surrogatepass")) > _LONGEST_NAME
        ):
            raise UnsafeNameError(f"{name[:_LONGEST_NAME]!r} cannot be the name of a file in {directory}.")
    return cast("PathT", directory.joinpath(*names))
