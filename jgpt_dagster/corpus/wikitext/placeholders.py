"""The private characters that cleaning works with: marks, and stand-ins for characters that are literal.

Plane 16 of Unicode is private: text that holds these characters holds nothing that could be read, so that they are
taken out of a page before all else.
"""

import re

_PRIVATE = 0x100000
PRIVATE = f"{chr(_PRIVATE)}-{chr(_PRIVATE + 0x7F)}"
PRIVATE_CHARACTERS = re.compile(f"[{PRIVATE}]")

HOLE = chr(_PRIVATE + 1)
"""Stands where a page shows something that cannot be said here: a sentence with it is no sentence and is left out."""
UNKNOWN = chr(_PRIVATE + 2)
"""Stands where a template may have shown something: a hole within a sentence, nothing elsewhere."""
TITLE = chr(_PRIVATE + 0x1F)
"""Stands for the title of the page, where that names itself."""
INNER_EQUALS = chr(_PRIVATE + 0x7F)
"""Stands for a "=" from within a template call, which must not be taken for the name of an argument further out."""

_MARKUP = {ord(character): chr(_PRIVATE + ord(character)) for character in "<>[]{}|'\"=*#;:&_~!"}
_SIGNS = {ord(character): chr(_PRIVATE + ord(character)) for character in "(),."}
_SIGNS |= {ord(wide): chr(_PRIVATE + number) for number, wide in enumerate("（）「」『』、。，；：・", start=3)}
_LITERAL = _MARKUP | _SIGNS
_RESTORE = {hidden: chr(character) for character, hidden in _LITERAL.items()}


def hide(text: str) -> str:
    """`text` with every character that means something in wikitext written as a private one."""
    return text.translate(_MARKUP)


def literal(text: str) -> str:
    """`text` as its author means it to the letter: its brackets and stops are hidden as well, and never tidied."""
    return text.translate(_LITERAL)


def restore_literal(hidden: re.Match[str]) -> str:
    """What a match of `PRIVATE_CHARACTERS` stands for; in a `sub` of them the inverse of `hide` and `literal`."""
    return _RESTORE.get(hidden[0], hidden[0])
