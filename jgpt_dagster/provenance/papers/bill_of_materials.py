"""`bom.cdx.json`: the model with its data sets, its files and the libraries that shaped it, as CycloneDX 1.6.

Source: https://cyclonedx.org/docs/1.6/json/. The serial number is derived from the model and its files, and there is no
time of day: the same release has the same bill.
"""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from jgpt_dagster.lm.release.licences import NOT_STATED
from jgpt_dagster.provenance.papers.release_facts import CorpusFacts, ReleaseFacts
from jgpt_dagster.storage.hashing import sha256_value

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
# The identifiers of https://spdx.org/licenses/ for those that are common among texts; any other licence has its name.
_SPDX = {"cc0-1.0": "CC0-1.0", "cc-by-4.0": "CC-BY-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "apache-2.0": "Apache-2.0"}
_VERSION = re.compile(r"\d+(\.\w+)*(\+[\w.]+)?")
_MODEL = "model"


def bill_of_materials(facts: ReleaseFacts) -> dict[str, Any]:
    """Return the bill of materials of a release as JSON-like values."""
    data = [_data(corpus) for corpus in facts.text]
    libraries = [_library(name, version) for name, version in facts.libraries]
    files = [_released_file(name, entry.sha256, entry.size) for name, entry in sorted(facts.files.items())]
    identity = sha256_value({"model": facts.model.data_sha256, "files": {n: e.sha256 for n, e in facts.files.items()}})
    return {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"urn:jgpt-dagster:release:{identity}").urn,
        "version": 1,
        "metadata": {"component": _model(facts, data)},
        "components": [*data, *libraries, *files],
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in (*data, *libraries)]},
            *({"ref": part["bom-ref"]} for part in (*data, *libraries, *files)),
        ],
    }


def _model(facts: ReleaseFacts, data: list[dict[str, Any]]) -> dict[str, Any]:
    counts, settings = facts.model.counts, facts.model.recipe.settings
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": facts.name,
        "version": facts.dump,
        "description": f"A Japanese GPT-2 language model with {counts['parameters']:,} parameters.",
        "licenses": [_licence(facts.licence.license_name or facts.licence.license)],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "self-supervised"},
                "task": "text-generation",
                "architectureFamily": "transformer",
                "modelArchitecture": "GPT-2",
                "datasets": [{"ref": part["bom-ref"]} for part in data],
                "inputs": [{"format": "text/plain"}],
                "outputs": [{"format": "text/plain"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": _metrics(facts)},
            "considerations": {
                "users": ["Researchers of language models, and whoever fine-tunes one."],
                "useCases": ["Continuing Japanese text, fine-tuning, and comparison with models of the same text."],
                "technicalLimitations": [
                    "Not tuned to follow instructions. Knows nothing of what happened after its text was collected."
                ],
                "ethicalConsiderations": [
                    {
                        "name": "It repeats errors, biases and passages of its training text.",
                        "mitigationStrategy": "jgpt trace names the documents that a passage stands in.",
                    }
                ],
            },
            "properties": _properties({"tokens seen in training": counts["tokens"], **settings}),
        },
    }


def _metrics(facts: ReleaseFacts) -> list[dict[str, Any]]:
    """Return the scores; the first is that of all held-out documents in bits per character, which has an interval."""
    metrics: list[dict[str, Any]] = [
        {"type": score.metric_type, "value": str(score.value), "slice": score.dataset_name} for score in facts.scores
    ]
    if metrics and facts.interval:
        low, high = facts.interval
        metrics[0]["confidenceInterval"] = {"lowerBound": f"{low:.4f}", "upperBound": f"{high:.4f}"}
    return metrics


def _data(corpus: CorpusFacts) -> dict[str, Any]:
    source, files = corpus.source, list(corpus.files())
    counts = {name: corpus.total(name) for name in ("documents", "characters", "tokens")}
    hashes = {f"source {file.name} sha256": file.entry.sha256 for file in files}
    published = {f"source {file.name} sha1 of its publisher": file.sha1 for file in files if file.sha1}
    address = {"url": source.page} if source.page else {}
    return {
        "type": "data",
        "bom-ref": f"data:{corpus.corpus.name}",
        "name": corpus.corpus.name,
        "description": source.title,
        **({"licenses": [_licence(source.licence)]} if source.licence not in ("", NOT_STATED) else {}),
        **({"externalReferences": [{"type": "license", "url": source.terms_page}]} if source.terms_page else {}),
        "data": [
            {
                "type": "dataset",
                "name": source.title,
                "contents": {**address, "properties": _properties({**counts, **hashes, **published})},
            }
        ],
    }


def _library(name: str, version: str) -> dict[str, Any]:
    """Return a library, or an engine by its fingerprint."""
    if not _VERSION.fullmatch(version):
        reference = f"engine:{name}:{sha256_value(version)[:12]}"
        return {"type": "library", "bom-ref": reference, "name": name, "description": version}
    # The version of PyPI: a build of torch for CPUs has another file under the same name.
    public = version.partition("+")[0]
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{public}"
    return {"type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version, "purl": purl}


def _released_file(name: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "properties": _properties({"bytes": size}),
    }


def _licence(name: str) -> dict[str, Any]:
    return {"license": {"id": _SPDX[name]} if name in _SPDX else {"name": name}}


def _properties(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is known of values as named properties, prefixed as CycloneDX asks of private names."""
    return [
        {"name": f"jgpt-dagster:{name}", "value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in values.items()
        if value is not None
    ]
