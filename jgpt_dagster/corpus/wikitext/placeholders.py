"""Private characters that cleaning uses as placeholders and as escapes of literal characters.

Plane 16 of Unicode is for private use. These characters have no meaning in a page and are removed from it first. So are
control characters; four of these, which are blanks to `str.strip`, mark places from the first steps to the joining of
paragraphs.
"""

import re
import string

_PRIVATE = 0x100000
PRIVATE_RANGE = f"{chr(_PRIVATE)}-{chr(_PRIVATE + 0x7F)}"
PRIVATE_CHARACTER = re.compile(f"[{PRIVATE_RANGE}]")

MISSING_VALUE = chr(_PRIVATE + 1)
"""For a value that is not known here, or a formula that is not text: the sentence is incomplete and is dropped."""
UNKNOWN_TEMPLATE = chr(_PRIVATE + 2)
"""For a template that may show text: a MISSING_VALUE within a sentence, nothing elsewhere."""
HOLE_SOURCES = "".join(chr(_PRIVATE + ord(character)) for character in string.ascii_letters + string.digits)
"""Behind a MISSING_VALUE or UNKNOWN_TEMPLATE: which template left it, as the number in this text that its account gives
it; a formula has none."""
PAGE_TITLE = chr(_PRIVATE + 0x1F)
"""For the title of the page, where it names itself ({{PAGENAME}})."""
ESCAPED_EQUALS = chr(_PRIVATE + 0x7F)
"""For a "=" that an inner template shows, so that it does not name an argument of an outer one."""

DROPPED_INLINE = "\x1f"
"""For what shows nothing within a line, such as a note: a line that holds nothing else is no blank line."""
DROPPED_BLOCK = "\x1d"
"""For what shows nothing between paragraphs, such as a box: a line that holds nothing else is a border."""
DISPLAYED_FORMULA = "\x1c"
"""In front of a formula at the start of a line."""
SOFT_BREAK = "\x1e"
"""For a line end within a paragraph."""

_MARKUP = {ord(character): chr(_PRIVATE + ord(character)) for character in "<>[]{}|'\"=*#;:&_~!"}
_SIGNS = {ord(character): chr(_PRIVATE + ord(character)) for character in "(),."}
_SIGNS |= {ord(wide): chr(_PRIVATE + number) for number, wide in enumerate("（）「」『』、。，；：・", start=3)}
_LITERAL = _MARKUP | _SIGNS
_RESTORE = {hidden: chr(character) for character, hidden in _LITERAL.items()}


def escape_markup(text: str) -> str:
    """Return `text` with every character that has a meaning in wikitext escaped."""
    return text.translate(_MARKUP)


def escape_literal(text: str) -> str:
    """Return `text` with brackets and punctuation escaped as well, so that line cleanup leaves them as they are."""
    return text.translate(_LITERAL)


ESCAPED_STOP = escape_literal("。")
"""For a 。 that belongs to a name."""


def unescape_character(hidden: re.Match[str]) -> str:
    """Return the character behind a match of PRIVATE_CHARACTER; the inverse of `escape_markup` and `escape_literal`."""
    return _RESTORE.get(hidden[0], hidden[0])
