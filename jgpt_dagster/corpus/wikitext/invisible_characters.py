"""Blanks of every kind and invisible characters: what becomes a space and what is dropped."""

import re

_BLANKS = "\t\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f"
# Blanks of other kinds, control and format characters, and the private characters of `placeholders`. A negated set of
# few ranges is faster to search for than the many ranges that it excludes.
_BLANK_OR_INVISIBLE = re.compile(
    "[^\n -~\u00a1-\u00ac\u00ae-\u1fff\u200c\u200d\u2010-\u2027\u2030-\u205e\u2061-\ufefe\uff00-\ufffd"
    "\U00010000-\U000fffff\U00100080-\U0010ffff]"
)


def normalize_characters(text: str) -> str:
    """Return `text` without invisible characters and with a space for each blank except the ideographic space."""
    return _BLANK_OR_INVISIBLE.sub(lambda odd: " " if odd[0] in _BLANKS else "", text)
