"""Derives documents again, from the raw dump to their token ids, and compares these with the token files."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jgpt_dagster.corpus.duplicates.explanations import PARAGRAPH_REASON
from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.segmenters.base import Segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.corpus.web.cc100 import DocumentRow, read_documents
from jgpt_dagster.corpus.web.text_folder import TextFolder
from jgpt_dagster.corpus.wikipedia.multistream import ShardRanges, read_siteinfo
from jgpt_dagster.corpus.wikipedia.page_xml import parse_pages
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.corpus.wikitext.template_rules import FILE as RULES
from jgpt_dagster.corpus.wikitext.template_rules import TemplateRules, read_rules, rules_setting
from jgpt_dagster.corpus.wikitext.template_store import open_templates
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer, load_tokenizer
from jgpt_dagster.provenance.chain import SHARD_RANGES, Chain, Step
from jgpt_dagster.provenance.dump_index import streams_of_pages
from jgpt_dagster.provenance.labels import SOURCE_FILES, Label, dump_of_pages, find_output, parse_label
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import parse_json
from jgpt_dagster.storage.parquet import read_rows

_TOKENS = "_tokens"
Lines = Sequence[str]


class RecomputeError(JgptError):
    """A root that lacks what documents are derived from."""


class Drawn(NamedTuple):
    """A document of a token file: the label of its shard of tokens, its key, and its ids there (uint16)."""

    label: str
    key: int
    ids: np.ndarray


@dataclass(frozen=True)
class Recomputed:
    """A document that was derived again: where it is, whether its ids are the same, and why it could not be."""

    label: str
    key: int
    same: bool
    problem: str = ""


def recompute(
    root: DataRoot, chain: Chain, count: int, seed: int, folders: Mapping[str, Path] | None = None
) -> Iterator[Recomputed]:
    """Derive `count` documents of the token files of a chain again, drawn at random, and yield each as it is compared.

    `folders` are the folders of text files by the name of their corpus. Raises RecomputeError if the root lacks a
    source, TokenizerMismatchError if the installed engine is another than that of the tokenizer.
    """
    drawn = draw_documents(root, chain, count, seed)
    tokenizer = _tokenizer(root, chain)
    with open_segmenter(tokenizer.segmenter) as engine:
        tokenizer.require_segmenter(tokenizer.segmenter, engine.fingerprint)
        for label, documents in _by_label(drawn).items():
            lines = _raw_lines(root, chain, parse_label(label), tokenizer.profile, folders or {})
            texts = lines([document.key for document in documents])
            for document in documents:
                yield _compare(document, texts, tokenizer, engine)


def draw_documents(root: DataRoot, chain: Chain, count: int, seed: int) -> list[Drawn]:
    """Return documents of the token files of a chain, drawn without repetition: all of them if there are fewer."""
    steps = [step for step in chain.steps if step.parsed.asset.endswith(_TOKENS)]
    sizes = [int(step.manifest.counts["documents"]) for step in steps]
    ends = np.cumsum(sizes)
    places = random.Random(seed).sample(range(sum(sizes)), min(count, sum(sizes)))  # noqa: S311  # no secret
    rows: dict[int, list[int]] = {}
    for place in sorted(places):
        step = int(np.searchsorted(ends, place, side="right"))
        rows.setdefault(step, []).append(place - int(ends[step]) + sizes[step])
    drawn = list[Drawn]()
    for number, wanted in rows.items():
        file = TokenFile(_found(root, steps[number]).path)
        drawn += [
            Drawn(steps[number].label, int(file.documents["key"][row]), np.array(file.document(row))) for row in wanted
        ]
    return drawn


def _compare(
    document: Drawn, texts: Mapping[int, Lines | str], tokenizer: TextTokenizer, engine: Segmenter
) -> Recomputed:
    lines = texts.get(document.key, "it is not in the source")
    if isinstance(lines, str):
        return Recomputed(document.label, document.key, False, lines)
    (segmented,) = segment_documents([list(lines)], tokenizer.profile, engine)
    (ids,) = tokenizer.encode_documents([segmented])
    same = np.array_equal(ids, document.ids)
    problem = "" if same else f"{len(ids):,} token ids were derived, {len(document.ids):,} others are in the token file"
    return Recomputed(document.label, document.key, same, problem)


def _raw_lines(
    root: DataRoot, chain: Chain, tokens: Label, profile: TextProfile, folders: Mapping[str, Path]
) -> Callable[[Sequence[int]], Mapping[int, Lines | str]]:
    """Return the function from keys of documents to their lines as the source gives them, or why it does not."""
    corpus = tokens.asset.removesuffix(_TOKENS)
    if tokens.dump is not None:
        articles = Label(f"{corpus}_articles", tokens.dump, tokens.shard)
        rules = _same_rules(root, chain, articles, profile)
        return lambda keys: _article_lines(root, articles, profile, rules, keys)
    archive = find_output(root, Label(f"{corpus}_dump"))
    if archive is not None:
        (name,) = archive[1].files
        path = archive[0].path / name
        return lambda keys: _document_lines(root, corpus, tokens.shard or "", keys, lambda: read_documents(path, []))
    if corpus not in folders:
        raise RecomputeError(
            f"{root.path} does not hold the source of {corpus}. If it is a folder of text files, name it in "
            "JGPT_FOLDERS; otherwise fetch it again with `jgpt run`."
        )
    folder = _same_folder(chain, corpus, folders[corpus])
    return lambda keys: _document_lines(root, corpus, tokens.shard or "", keys, lambda: folder.documents([]))


def _same_folder(chain: Chain, corpus: str, path: Path) -> TextFolder:
    """Return a folder of text files. Raises RecomputeError if it holds others than the documents were made of."""
    folder = TextFolder.open(path)
    made_of = {
        step.manifest.recipe.inputs.get(SOURCE_FILES)
        for step in chain.steps
        if step.parsed.asset == f"{corpus}_documents"
    }
    if made_of != {folder.sha256}:
        raise RecomputeError(
            f"{path} holds other text files than those that {corpus} was made of: files were added, changed or removed "
            "since. Restore them to derive documents from them again."
        )
    return folder


def _same_rules(root: DataRoot, chain: Chain, articles: Label, profile: TextProfile) -> TemplateRules:
    """Return a root's rules for templates. Raises RecomputeError if articles were cleaned by others."""
    rules = read_rules(root.location) if profile == "clean" else {}
    cleaned_by = {step.manifest.recipe.settings.get(RULES) for step in chain.steps if step.label == str(articles)}
    if cleaned_by - {rules_setting(rules).get(RULES)}:
        raise RecomputeError(
            f"{root.location / RULES} holds other rules than those that {articles} were cleaned by. Restore them to "
            "derive documents from the dump again."
        )
    return rules


def _article_lines(
    root: DataRoot, articles: Label, profile: TextProfile, rules: TemplateRules, keys: Sequence[int]
) -> Mapping[int, Lines | str]:
    label = dump_of_pages(articles)
    found = find_output(root, label)
    if found is None:
        raise RecomputeError(f"{root.path} does not hold {label}, from which documents are derived.")
    output, manifest = found
    (name,) = (name for name in manifest.files if name.endswith("-multistream.xml.bz2"))
    dump = output.path / name
    ranges = ShardRanges.from_dict(parse_json((output.path / SHARD_RANGES).read_bytes()))
    part = ranges.shards[int(articles.shard or 0)]
    site = read_siteinfo(dump, ranges)
    library = open_templates(output.path, site) if profile == "seed" else None
    clean = article_cleaner(profile, site, library, rules)
    indexes = [output.path / name for name in manifest.files if name.endswith("-multistream-index.txt.bz2")]
    streams = {(part.offset, part.length)}
    if indexes:
        streams = {*streams_of_pages(indexes[0], ranges.shards[-1].end, {*keys}).values()}
    lines: dict[int, Lines | str] = {}
    for offset, length in sorted(streams):
        for page in parse_pages(bz2_chunks(dump, offset, length), str(dump)):
            number, revision = page.page_id, page.revision_id
            if number in keys and number is not None and revision is not None and page.text is not None:
                lines[number] = clean(number, revision, page.title, page.text)
    return lines


def _document_lines(
    root: DataRoot, corpus: str, shard: str, keys: Sequence[int], read: Callable[[], Iterator[DocumentRow]]
) -> Mapping[int, Lines | str]:
    """Return the lines of documents without those that stand elsewhere, which is looked up there."""
    repeated = _repeated_lines(root, corpus, shard, {*keys})
    wanted = {*keys, *(place[0] for places in repeated.values() for place in places.values())}
    source: dict[int, Lines] = {}
    for key, lines, *_ in read():
        if key in wanted:
            source[key] = lines
            if len(source) == len(wanted):
                break
    found: dict[int, Lines | str] = {}
    for key in keys:
        if key in source:
            found[key] = _without_repeated(key, source, repeated.get(key, {}))
    return found


def _repeated_lines(
    root: DataRoot, corpus: str, shard: str, keys: set[int]
) -> Mapping[int, Mapping[int, tuple[int, int]]]:
    """Return for each document the lines that were left out, each with the document and line that it repeats."""
    table = find_output(root, Label(f"{corpus}_duplicates", None, shard))
    repeated: dict[int, dict[int, tuple[int, int]]] = {}
    for key, line, reason, first_key, first_line, _ in read_rows(table[0].path) if table else ():
        if key in keys and reason == PARAGRAPH_REASON:
            repeated.setdefault(key, {})[line] = (first_key, first_line)
    return repeated


def _without_repeated(key: int, source: Mapping[int, Lines], repeated: Mapping[int, tuple[int, int]]) -> Lines | str:
    lines = source[key]
    for number, (first_key, first_line) in repeated.items():
        first = source.get(first_key, ())
        if first_line >= len(first) or first[first_line].strip() != lines[number].strip():
            return f"its line {number} was left out as a copy of line {first_line} of document {first_key}, and is none"
    return [line for number, line in enumerate(lines) if number not in repeated]


def _tokenizer(root: DataRoot, chain: Chain) -> TextTokenizer:
    steps = [step for step in chain.steps if step.label == "tokenizer"]
    if not steps:
        raise RecomputeError("The chain carries no tokenizer.")
    return load_tokenizer(_found(root, steps[-1]).path)


def _found(root: DataRoot, step: Step) -> Artifact:
    found = find_output(root, step.parsed, step.manifest.data_sha256)
    if found is None:
        raise RecomputeError(f"{root.path} does not hold the {step.label} that the release was made of.")
    return found[0]


def _by_label(drawn: Sequence[Drawn]) -> Mapping[str, list[Drawn]]:
    groups: dict[str, list[Drawn]] = {}
    for document in drawn:
        groups.setdefault(document.label, []).append(document)
    return groups
