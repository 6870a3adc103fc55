"""`croissant.json`: the training set in the vocabulary of Croissant 1.1, for tools that look for data sets.

Sources: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and, for the fields `rai:`,
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html. The files are those of a data root and not part of a
release: a relative address is a place in the root, and a copy of the description that lies there opens the tables.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA, TOKENS
from jgpt_dagster.lm.data.training_set import TRAIN, TRAIN_SCHEMA, VALIDATION, VALIDATION_SCHEMA
from jgpt_dagster.provenance.papers.release_facts import CorpusFacts, ReleaseFacts, SourceFile, place_of

_PARQUET = "application/x-parquet"
_ENCODINGS = {
    ".parquet": _PARQUET,
    ".json": "application/json",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
}
_BINARY = "application/octet-stream"

_TERMS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format "
    "includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
)
# The context that the specification recommends; validators warn if one of its terms is missing.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: {"@container": "@language"} for name in ("description", "name")},
    **{name: f"cr:{name}" for name in _TERMS.split()},
}

_COLUMNS = {
    "page_id": "Number of the page in the wiki.",
    "revision_id": "Number of the revision whose text this is.",
    "document_id": "Place of the document in its source.",
    "title": "Title of the page.",
    "lines": "Cleaned lines of the document.",
    "url": "Address that the source gives for the document.",
    "license": "Licence that the source gives for the document.",
    "date": "Date that the source gives for the document.",
    "id": "Name that the source gives the document.",
    "key": "page_id or document_id of the document.",
    "shard": "Number of the token file, in the order of training_set.json.",
    "offset": "First token of the document in tokens.bin.",
    "length": "Tokens of the document, the end of text included.",
    "characters": "Characters of the text that the tokens stand for.",
    "bytes": "UTF-8 bytes of the text that the tokens stand for.",
}


def croissant(facts: ReleaseFacts) -> dict[str, Any]:
    """Return the description of a release's training set as JSON-LD."""
    dump, training_set = facts.dump, facts.training_set
    title = f"jgpt-training-set-{dump}"
    identity = f"sha256 {training_set.manifest.data_sha256}" if training_set else "no longer in its data root"
    terms = [source.terms_page or source.terms for source in (corpus.source for corpus in facts.text)]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": title,
        "description": f"The text that {facts.name}, a Japanese GPT-2 language model, was trained on: cleaned "
        f"documents, their token ids, and which of them were held out ({identity}).",
        "inLanguage": "ja",
        "keywords": ["Japanese", "language model", "pretraining"],
        "license": list(dict.fromkeys(terms)),
        # When files were made is not recorded: the same inputs give the same bytes. The date is that of the dump.
        "datePublished": f"{dump[:4]}-{dump[4:6]}-{dump[6:]}",
        "version": f"{dump}.0.0",
        "citeAs": f"@misc{{{title}, title = {{{title}}}, note = {{{identity}}}}}",
        "isLiveDataset": False,
        "rai:dataCollection": " ".join(_collection(corpus) for corpus in facts.text),
        "rai:dataPreprocessingProtocol": [
            "Text is normalised and cleaned, and documents are filtered and deduplicated; the recipe of each step, "
            "with its settings and libraries, is in provenance.json of the release."
        ],
        "rai:dataLimitations": ["Documents are Japanese by intent; what filters miss, such as other languages, is in."],
        "rai:personalSensitiveInformation": [f"The text names people as its sources do. {_removed(facts)}"],
        "distribution": [*_sources(facts), *_training_files(facts), *_tables(facts)],
        "recordSet": list(_record_sets(facts)),
    }


def _removed(facts: ReleaseFacts) -> str:
    count = sum(corpus.left_out().get("excluded", 0) for corpus in facts.text)
    told = f"{count:,} documents were taken out by name, for reasons that their provider recorded."
    return told if count else "Nothing was searched for or removed on that account."


def _collection(corpus: CorpusFacts) -> str:
    documents = corpus.total("documents")
    size = "" if documents is None else f": {documents:,} documents, {corpus.total('tokens'):,} tokens"
    origin = f" ({corpus.source.page})" if corpus.source.page else ""
    return f"{corpus.corpus.name}: {corpus.source.title}{origin}{size}."


def _sources(facts: ReleaseFacts) -> Iterator[dict[str, Any]]:
    for corpus in facts.text:
        for file in corpus.files():
            told = f"Source of {corpus.corpus.name}"
            published = f"; its publisher gives sha1 {file.sha1}" if file.sha1 else ""
            yield _file(file.place, file, file.url or file.place, f"{told}{published}.")


def _training_files(facts: ReleaseFacts) -> Iterator[dict[str, Any]]:
    steps = [step for corpus in facts.text for step in corpus.tokens]
    steps += [facts.training_set] if facts.training_set else []
    for step in steps:
        for name, entry in sorted(step.manifest.files.items()):
            place = f"{place_of(step)}/{name}"
            yield _file(
                place, SourceFile(name, entry, "", "", place), place, _FILES.get(name, f"A file of {step.label}.")
            )


_FILES = {
    TOKENS: "Token ids of a shard, one document after the other: little-endian unsigned integers of 16 bits.",
    DOCUMENTS: "The documents of the token file beside it.",
    TRAIN: "The spans of token files that are trained on, in order.",
    VALIDATION: "The documents that are held out of training.",
    "training_set.json": "The token files with their hashes, the mixture, and the counts.",
}


def _file(place: str, file: SourceFile, address: str, description: str) -> dict[str, Any]:
    suffix = f".{file.name.rpartition('.')[2]}"
    return {
        "@type": "cr:FileObject",
        "@id": place,
        "name": file.name,
        "description": description,
        "contentUrl": address,
        "contentSize": f"{file.entry.size} B",
        "encodingFormat": _ENCODINGS.get(suffix, _BINARY),
        "sha256": file.entry.sha256,
    }


def _tables(facts: ReleaseFacts) -> Iterator[dict[str, Any]]:
    """Yield the tables that consist of a file for each shard."""
    for corpus in facts.text:
        name = corpus.corpus.name
        if corpus.text:
            hashes = ", ".join(f"{step.parsed.shard} {step.manifest.files['data'].sha256}" for step in corpus.text)
            told = f"Cleaned documents of {name}. sha256 of all bytes before the footer, by shard: {hashes}."
            yield _file_set(name, place_of(corpus.text[0]), told)
        if corpus.tokens:
            place = f"{place_of(corpus.tokens[0])}/{DOCUMENTS}"
            yield _file_set(corpus.corpus.tokens_asset, place, f"Tables of the token files of {name}.")


def _file_set(name: str, first: str, description: str) -> dict[str, Any]:
    folder, _, rest = first.partition("shard=000")
    return {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        "description": description,
        "encodingFormat": _PARQUET,
        "includes": f"{folder}shard=*{rest}",
    }


def _record_sets(facts: ReleaseFacts) -> Iterator[dict[str, Any]]:
    for corpus in facts.text:
        name, tokens = corpus.corpus.name, corpus.corpus.tokens_asset
        if corpus.text:
            source = {"fileSet": {"@id": f"{name}-files"}}
            yield _record_set(
                name, f"Documents of {name}.", corpus.corpus.text_schema, source, corpus.corpus.key_column
            )
        if corpus.tokens:
            source = {"fileSet": {"@id": f"{tokens}-files"}}
            yield _record_set(tokens, f"Documents of {name} in its token files.", DOCUMENTS_SCHEMA, source, "key")
    if facts.training_set:
        folder = place_of(facts.training_set)
        for file, name, schema in ((TRAIN, "train", TRAIN_SCHEMA), (VALIDATION, "held-out", VALIDATION_SCHEMA)):
            source = {"fileObject": {"@id": f"{folder}/{file}"}}
            yield _record_set(name, _FILES[file], schema, source)


def _record_set(
    name: str, description: str, schema: pa.Schema, source: Mapping[str, Any], key: str | None = None
) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        **({"key": {"@id": f"{name}/{key}"}} if key else {}),
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column.name}",
                "name": column.name,
                "description": _COLUMNS[column.name],
                "dataType": "sc:Integer" if pa.types.is_integer(column.type) else "sc:Text",
                **({"isArray": True, "arrayShape": "-1"} if pa.types.is_list(column.type) else {}),
                "source": {**source, "extract": {"column": column.name}},
            }
            for column in schema
        ],
    }
