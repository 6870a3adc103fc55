"""`training_content.md`: the public summary of what a model was trained on.

Article 53(1)(d) of Regulation (EU) 2024/1689 asks it of whoever places a general-purpose model on the market of the EU.
Sections and their numbers follow the template that the Commission gave for it on 24 July 2025. What a release cannot
know, such as its publisher, is said to be missing.
"""

from collections.abc import Iterator, Mapping

from jgpt_dagster.catalog.corpora import Archive, Folder, WikiDumps
from jgpt_dagster.literal_text import markdown_cell, markdown_text
from jgpt_dagster.lm.release.licences import NOT_STATED
from jgpt_dagster.provenance.papers.release_facts import CorpusFacts, ReleaseFacts, Source

_UNKNOWN = "not known any more: the training set is gone from its data root"
_TO_FILL_IN = "*to be filled in by whoever publishes the model*"
_REASONS = {
    "excluded": "taken out by name, with `jgpt exclude`",
    "rejected": "unreadable or over a limit",
    "dropped_near_duplicate": "near-duplicates of another document",
    "dropped_not_japanese": "too little Japanese",
    "dropped_nothing_new": "nothing but repeated paragraphs",
    "dropped_repetitive": "repetitive",
    "dropped_too_short": "too short",
}
# Of documents that stay: what was taken out of them is counted in paragraphs.
_OF_PARAGRAPHS = "dropped_paragraphs"


def training_content(facts: ReleaseFacts) -> str:
    """Return the summary in Markdown."""
    return f"""# Summary of the training content of {markdown_text(facts.name)}

For Article 53(1)(d) of Regulation (EU) 2024/1689. It was written from the records of the release; what they cannot
tell is named as such.

## 1. General information

### 1.1 Provider

* Provider, representative in the Union, contact: {_TO_FILL_IN}

### 1.2 Model

* Model: {markdown_text(facts.name)}, {facts.model.counts["parameters"]:,} parameters
* Made from: {_start(facts)}
* Date of placement on the market: {_TO_FILL_IN}

### 1.3 Modalities, size, characteristics

* Modality: text. No images, audio or video.
* Size: {_size(facts)}
* Content: {_content(facts)}
* Latest date of the data: {_latest(facts)}
* Language: Japanese. Passages in other languages are in, where the sources have them.

## 2. Sources

### 2.1 Publicly available data sets

{_public(facts)}

### 2.2 Data sets of third parties that are not publicly available

{_folders(facts)}

### 2.3 Data crawled and scraped by the provider

None: jgpt-dagster has no crawler. What others have crawled is under 2.1.

### 2.4 Data of users

None.

### 2.5 Synthetic data

{_synthetic(facts)}

### 2.6 Other sources

None.

## 3. Processing

### 3.1 Reservations of rights

{_reservations(facts)}

### 3.2 Removal of illegal content

No list of illegal content was applied, and none was searched for.{_taken_out(facts)}

### 3.3 Other processing

{_processing(facts)}
"""


def _start(facts: ReleaseFacts) -> str:
    earlier = sorted(label for label in facts.model.recipe.inputs if label.startswith("pretrained_model"))
    if not earlier:
        return "random weights; no earlier model"
    return (
        f"the weights of {markdown_text(', '.join(earlier))}, whose training content is in the summary of its release"
    )


def _size(facts: ReleaseFacts) -> str:
    tokens = facts.total_tokens
    if tokens is None:
        return _UNKNOWN
    band = "less than 1 billion" if tokens < 10**9 else "1 billion to 10 trillion" if tokens < 10**13 else "more"
    read = facts.model.counts["tokens"]
    return f"{tokens:,} tokens ({band}), held-out documents included; training read {read:,}, repetitions included"


def _content(facts: ReleaseFacts) -> str:
    kinds = {
        WikiDumps: "articles of a wiki",
        Archive: "documents of the web",
        Folder: "text files of the provider's choice",
    }
    return ", ".join(dict.fromkeys(kinds[type(corpus.source)] for corpus in facts.corpora))


def _latest(facts: ReleaseFacts) -> str:
    dated = f"{facts.dump[:4]}-{facts.dump[4:6]}-{facts.dump[6:]}, the date of the dump"
    others = [corpus.name for corpus in facts.corpora if not corpus.dated]
    return f"{dated}; {', '.join(map(markdown_text, others))}: see 2" if others else dated


def _public(facts: ReleaseFacts) -> str:
    entries = [_entry(facts, corpus) for corpus in facts.text if not isinstance(corpus.corpus.source, Folder)]
    return "\n\n".join(entries) or "None."


def _folders(facts: ReleaseFacts) -> str:
    entries = [_entry(facts, corpus) for corpus in facts.text if isinstance(corpus.corpus.source, Folder)]
    told = "Whether these text files are public or licensed from third parties, their publisher must say.\n\n"
    return told + "\n\n".join(entries) if entries else "None."


def _entry(facts: ReleaseFacts, corpus: CorpusFacts) -> str:
    source = corpus.source
    rows = {
        "source": markdown_cell(source.title) + (f" ({markdown_cell(source.page)})" if source.page else ""),
        "licence or terms": _terms(source),
        "dates": _dates(facts, corpus),
        "documents": _number(corpus.total("documents")),
        "characters": _number(corpus.total("characters")),
        "tokens": _number(corpus.total("tokens")),
        **{f"file {markdown_cell(file.name)}": _checksums(file.entry.sha256, file.sha1) for file in corpus.files()},
        "domains": _domains(corpus),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"**{markdown_text(corpus.corpus.name)}**\n\n| | |\n|---|---|\n{table}"


def _terms(source: Source) -> str:
    words = "not stated" if source.terms == NOT_STATED else markdown_cell(source.terms)
    return f"{words} ({source.terms_page})" if source.terms_page else words


def _dates(facts: ReleaseFacts, corpus: CorpusFacts) -> str:
    if corpus.corpus.dated:
        return f"text as of {facts.dump[:4]}-{facts.dump[4:6]}-{facts.dump[6:]}"
    if isinstance(corpus.corpus.source, Archive):
        return "the archive has none; its publisher says that it was made from Common Crawl of January to December 2018"
    return "not known, unless the documents themselves have them"


def _domains(corpus: CorpusFacts) -> str:
    match corpus.corpus.source:
        case WikiDumps(wiki):
            return markdown_cell(corpus.source.page) if corpus.source.page else f"that of {markdown_cell(wiki)}"
        case Archive():
            return "**not known**: the archive is text without addresses, so neither domains nor shares can be listed"
        case Folder():
            return "not listed; documents that name their address have it in the column `url`"


def _checksums(sha256: str, sha1: str) -> str:
    return f"sha256 {sha256}" + (f", sha1 of its publisher {sha1}" if sha1 else "")


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _synthetic(facts: ReleaseFacts) -> str:
    named = [corpus.name for corpus in facts.corpora if not isinstance(corpus.source, WikiDumps)]
    unknown = f" Whether there is any in {', '.join(map(markdown_text, named))} is not known." if named else ""
    return f"None was generated for this model.{unknown}"


def _reservations(facts: ReleaseFacts) -> str:
    told = [
        "Dumps and archives were taken as their publishers offer them; no site was visited, and no robots.txt read."
    ]
    if any(isinstance(corpus.source, Archive) for corpus in facts.corpora):
        told.append(
            "The archive has no addresses, so that reservations of single sites cannot be looked up in it. Whether "
            "they were respected is up to how Common Crawl collected the text."
        )
    return "\n".join(f"* {line}" for line in told)


def _taken_out(facts: ReleaseFacts) -> str:
    taken_out = sum(corpus.left_out().get("excluded", 0) for corpus in facts.text)
    return (
        f" {taken_out:,} documents were taken out by name, for reasons that their provider recorded."
        if taken_out
        else ""
    )


def _processing(facts: ReleaseFacts) -> str:
    lines = list(_left_out(facts))
    lines.append(
        "* Text is normalised, cleaned of markup and encoded as tokens; every step with its settings and libraries is "
        "in `provenance.json`."
    )
    if facts.training_set:
        counts = facts.training_set.manifest.counts
        lines.append(
            f"* {counts['validation_documents']:,} documents ({counts['validation_tokens']:,} tokens) were held out "
            "for evaluation and never trained on."
        )
    return "\n".join(lines)


def _left_out(facts: ReleaseFacts) -> Iterator[str]:
    for corpus in facts.text:
        found: Mapping[str, int] = corpus.left_out()
        named = [
            f"{count:,} {_REASONS.get(name, name.removeprefix('dropped_').replace('_', ' '))}"
            for name, count in sorted(found.items())
            if name != _OF_PARAGRAPHS
        ]
        if named:
            yield f"* Left out of {markdown_text(corpus.corpus.name)}: {'; '.join(named)}."
        if paragraphs := found.get(_OF_PARAGRAPHS):
            yield f"* Repeated paragraphs taken out of {markdown_text(corpus.corpus.name)}: {paragraphs:,}."
