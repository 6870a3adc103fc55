"""Segmentation of documents: normalise each line, split it into sentences, split these into words.

A document is a list of lines; its result is a list of lines, each a list of sentences, each the words joined by one
half-width space. Under `clean` the normalised text can be restored: see `restore_text`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from jgpt_dagster.corpus.segmenters.base import Segmenter
from jgpt_dagster.corpus.text.normalize import normalized_characters, normalizer
from jgpt_dagster.corpus.text.sentence_splitter import PERIODS, split_sentences
from jgpt_dagster.corpus.text.substitutions import VARIATION_SELECTORS
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.text_cells import TextCell

SPACE_SYMBOL = "\u2581"
"""Represents a half-width space of the text under `clean`, at the start of the word after it (`New ▁York`)."""

_SPACE_SYMBOL_BYTES = SPACE_SYMBOL.encode()
_CARRIAGE_RETURN = re.compile("\r\n?")
_SELECTOR = re.compile(f"[{VARIATION_SELECTORS}]")
_SPACE_BEFORE_SELECTOR = re.compile(f" +(?={_SELECTOR.pattern})")
# What belongs to the end of the sentence before: the form of its period, and further periods.
_SELECTED_PERIODS = re.compile(f"(?:{_SELECTOR.pattern}+[{PERIODS}]*)+")

_BATCH_CHARACTERS = 1_000_000
"""Characters at which a batch is full: limits memory if lines are huge."""


@dataclass(slots=True)
class SegmentCounts:
    """Totals over documents. They depend only on documents and results, not on how the results were made."""

    lines: int = 0
    """Kept lines: lines that are empty after normalisation are dropped."""
    sentences: int = 0
    words: int = 0
    own_space_symbols: int = 0
    """U+2581 in the text, which `clean` replaces by `_`."""

    def add(self, lines: list[str], segmented: list[list[str]]) -> None:
        """Count a document, given its lines and their segmentation."""
        self.lines += len(segmented)
        sentences = [sentence for line in segmented for sentence in line]
        self.sentences += len(sentences)
        self.words += "".join(sentences).count(" ") + len(sentences)
        self.own_space_symbols += "".join(lines).count(SPACE_SYMBOL)

    def add_cells(self, lines: TextCell, segmented: TextCell) -> None:
        """Count a document that is taken over as it is."""
        self.lines += segmented.items
        self.sentences += segmented.strings
        self.words += segmented.data.count(b" ") + segmented.strings
        self.own_space_symbols += lines.data.count(_SPACE_SYMBOL_BYTES)


def segment_documents(
    documents: Iterable[list[str]], profile: TextProfile, segmenter: Segmenter, batch_sentences: int = 2000
) -> Iterator[list[list[str]]]:
    """Segment a stream of documents, each a list of lines; yield one result for each, in order.

    `batch_sentences` is how many sentences the engine receives at a time: it changes the speed, never the result. No
    more than that many documents are in memory, nor more than a million characters and the document that exceeds them.
    Under `clean`, the sentences of a kept line, joined without their half-width spaces and with U+2581 read as a space,
    are the normalised line. Under `seed`, words that are a space are left out.
    """
    split_line = _line_splitter(profile)
    split = ([sentences for line in lines if (sentences := split_line(line))] for lines in documents)
    for batch in batches(split, max_items=batch_sentences, max_size=_BATCH_CHARACTERS, size=_characters):
        yield from _segment_batch(batch, profile, segmenter, batch_sentences)


def split_document(lines: Iterable[str], profile: TextProfile) -> list[list[str]]:
    """Return the sentences of each line of a document, normalised and not segmented; lines without any are left out."""
    split_line = _line_splitter(profile)
    return [found for line in lines if (found := split_line(line))]


def restore_text(lines: list[list[str]]) -> str:
    """Return the normalised text of a document segmented under `clean`, each line ending in a line feed."""
    return "".join("".join(line).replace(" ", "").replace(SPACE_SYMBOL, " ") + "\n" for line in lines)


def _line_splitter(profile: TextProfile) -> Callable[[str], list[str]]:
    """Return the function from a line to its sentences, not yet segmented; none if it is empty once normalised."""
    split_any = _seed_splitter() if profile == "seed" else _clean_splitter()
    needs_work = _work_pattern(profile).search

    def split(line: str) -> list[str]:
        return split_any(line) if needs_work(line) or "ーー" in line or not line else [line]

    return split


def _work_pattern(profile: TextProfile) -> re.Pattern[str]:
    """Return a pattern that finds what may keep a line from being one sentence unchanged, except ーー.

    Three of four lines of web text are one sentence unchanged.
    """
    touched = normalized_characters(profile)
    return re.compile(f"[{touched}{PERIODS}](?:(?=[^{PERIODS}])|(?<=[{touched}]))")


def _seed_splitter() -> Callable[[str], list[str]]:
    normalize = normalizer("seed")

    def split(line: str) -> list[str]:
        if "\r" in line:  # the recipe reads files in text mode, where a lone carriage return ends a line as well
            return [sentence for part in _CARRIAGE_RETURN.split(line) for sentence in split_sentences(normalize(part))]
        return split_sentences(normalize(line))

    return split


def _clean_splitter() -> Callable[[str], list[str]]:
    normalize = normalizer("clean")

    def split(line: str) -> list[str]:
        # Before splitting, which strips: the space between two sentences stays, as the first character of the second.
        return split_sentences(normalize(line).replace(" ", SPACE_SYMBOL))

    return split


def _with_whole_periods(sentences: list[str]) -> list[str]:
    """Return the sentences with variation selectors in the sentence of the period that they belong to."""
    whole: list[str] = []
    for sentence in sentences:
        if whole and (periods := _SELECTED_PERIODS.match(sentence)):
            whole[-1] += periods[0]
            sentence = sentence[periods.end() :]
        if sentence:
            whole.append(sentence)
    return whole


def _characters(document: list[list[str]]) -> int:
    return sum(len(sentence) for line in document for sentence in line)


def _sentences(documents: list[list[list[str]]]) -> list[str]:
    return [sentence for document in documents for line in document for sentence in line]


def _segment_batch(
    documents: list[list[list[str]]], profile: TextProfile, segmenter: Segmenter, batch_sentences: int
) -> Iterator[list[list[str]]]:
    sentences = _sentences(documents)
    has_selectors = profile == "clean" and _SELECTOR.search("".join(sentences)) is not None
    if has_selectors:
        documents = [[_with_whole_periods(line) for line in document] for document in documents]
        sentences = _sentences(documents)
    # Words that are a space occur only under `seed`, where the recipe's tokenizer drops them as well: its Whitespace
    # pre-tokenizer makes no tokens of spaces.
    engine_batches = batches(sentences, max_items=batch_sentences, max_size=_BATCH_CHARACTERS, size=len)
    segmented: Iterator[str] = chain.from_iterable(map(segmenter.segment_joined, engine_batches))
    if profile == "clean":
        segmented = (words.replace(f"{SPACE_SYMBOL} ", SPACE_SYMBOL) for words in segmented)
    for document in documents:
        result = [[next(segmented) for _ in line] for line in document]
        if has_selectors and _SELECTOR.search("".join(chain.from_iterable(document))):
            # Engines take variation selectors for words.
            result = [[_SPACE_BEFORE_SELECTOR.sub("", words) for words in line] for line in result]
        yield result
