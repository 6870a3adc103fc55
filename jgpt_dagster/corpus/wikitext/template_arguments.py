"""The arguments of a template call."""

import re
from collections.abc import Mapping, Sequence

Arguments = Mapping[str, str]
"""The arguments of one call by name; positional ones are named "1", "2", … as in MediaWiki."""

_NO_NAME = re.compile(r"[<>\[\]\n\"']|^[*#:;]")


def _parse_named(part: str) -> tuple[str, str] | None:
    """Return name and value of a named argument; None if there is no "=", or it is part of a tag, list or heading."""
    name, equals, value = part.partition("=")
    if value[:1] == "=" and not name.rpartition("\n")[2].strip():
        return None  # `==` at the start of a line is a heading
    name = name.strip()
    return (name, value.strip()) if equals and len(name) < 60 and not _NO_NAME.search(name) else None


def parse_arguments(parts: Sequence[str]) -> Arguments:
    """Return the arguments of a call, given its parts between the pipes."""
    arguments: dict[str, str] = {}
    position = 0
    for part in parts:
        if named := _parse_named(part):
            arguments[named[0]] = named[1]
        else:
            position += 1
            arguments[str(position)] = part
    return arguments


def value(arguments: Arguments, *names: str) -> str:
    """Return the first of the named arguments that is not blank, "" if all are."""
    return next((text for name in names if (text := arguments.get(name, "").strip())), "")


def positional(arguments: Arguments) -> list[str]:
    """Return the positional arguments that are not blank."""
    return [text for name, text in arguments.items() if name.isdecimal() and text.strip()]


def numbered(arguments: Arguments, *names: str) -> list[str]:
    """Return the arguments that are not blank and have one of the names, with or without a number behind it."""
    return [text for name, text in arguments.items() if name.rstrip("0123456789") in names and text.strip()]
