"""The arguments of a template call."""

import re
from collections.abc import Mapping, Sequence

Arguments = Mapping[str, str]
"""The arguments of one call by name; the unnamed ones are "1", "2", … as in MediaWiki."""

_NO_NAME = re.compile(r"[<>\[\]\n\"']")


def _named(part: str) -> tuple[str, str] | None:
    """Name and value of an argument; None for an unnamed one, also where the "=" is that of a tag or a sentence."""
    name, equals, value = part.partition("=")
    name = name.strip()
    return (name, value.strip()) if equals and len(name) < 60 and not _NO_NAME.search(name) else None


def arguments_of(parts: Sequence[str]) -> Arguments:
    """The arguments that a call has between its pipes."""
    arguments: dict[str, str] = {}
    position = 0
    for part in parts:
        if named := _named(part):
            arguments[named[0]] = named[1]
        else:
            position += 1
            arguments[str(position)] = part
    return arguments


def value(arguments: Arguments, *names: str) -> str:
    """The first of the named arguments that is not blank."""
    return next((text for name in names if (text := arguments.get(name, "").strip())), "")


def unnamed(arguments: Arguments) -> list[str]:
    """The unnamed arguments that are not blank."""
    return [text for name, text in arguments.items() if name.isdecimal() and text.strip()]
