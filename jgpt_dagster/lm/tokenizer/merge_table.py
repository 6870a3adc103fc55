"""Merge tables of byte-pair encodings: closed over all splits of each token."""

from collections.abc import Iterable, Iterator

Merge = tuple[str, str]
"""Two neighbouring tokens that become the token of their joined text."""


def closed_merges(merges: Iterable[Merge]) -> list[Merge]:
    """Return a merge table, best merge first, with every pair of tokens that spells a token.

    A trained table has for most tokens one pair only. SentencePiece joins the neighbours whose joined text is the best
    token, whatever the two are; with the closed table, an encoder that follows merges does so too. All pairs of a token
    stand where its first one stood. The table of a closed table is the table itself.
    """
    pairs: dict[str, list[Merge]] = {}
    for left, right in merges:
        pairs.setdefault(left + right, []).append((left, right))
    tokens = {part for found in pairs.values() for pair in found for part in pair} | pairs.keys()
    return [pair for token, found in pairs.items() for pair in dict.fromkeys([*found, *_splits(token, tokens)])]


def _splits(token: str, tokens: set[str]) -> Iterator[Merge]:
    """Yield the pairs of tokens that a token can be cut into."""
    for position in range(1, len(token)):
        left, right = token[:position], token[position:]
        if left in tokens and right in tokens:
            yield left, right
