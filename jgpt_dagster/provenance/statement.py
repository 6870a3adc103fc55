"""`provenance.json` of a release: its chain as an in-toto statement with a predicate of SLSA's provenance.

Sources: in-toto Statement v1 (https://in-toto.io/Statement/v1) and SLSA Provenance v1 (https://slsa.dev/provenance/v1).
The subjects are the files of the release; the build definition holds the recipe and every step, with what it read, what
it wrote and its libraries. It holds nothing volatile: the same release has the same statement.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.provenance.chain import Chain, Step
from jgpt_dagster.storage.manifest import FileEntry, Recipe, parse_json

PROVENANCE = "provenance.json"

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
_BUILD_TYPE = "urn:jgpt-dagster:pretraining:v1"
_BUILDER = "urn:jgpt-dagster"


class StatementError(JgptError):
    """A file that is no statement of where a release comes from."""


@dataclass(frozen=True)
class Statement:
    """What a release says of itself: the sha256 of its files by name, its recipe, the name of its model, its chain."""

    subjects: Mapping[str, str]
    recipe: Recipe
    model: str | None
    chain: Chain

    def to_dict(self) -> dict[str, Any]:
        """Return the statement as JSON-like values."""
        return {
            "_type": _STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(self.subjects.items())],
            "predicateType": _PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": _BUILD_TYPE,
                    "externalParameters": {"model": self.model, **self.recipe.settings},
                    "internalParameters": {
                        "recipe": asdict(self.recipe),
                        "steps": [step.to_dict() for step in self.chain.steps],
                    },
                    "resolvedDependencies": [
                        dependency for step in self.chain.sources() for dependency in _dependencies(step)
                    ],
                },
                "runDetails": {"builder": {"id": _BUILDER}},
            },
        }


def statement_of(files: Mapping[str, FileEntry], recipe: Recipe, model: str | None, chain: Chain) -> Statement:
    """Return the statement of a release that has these files beside its statement."""
    subjects = {name: entry.sha256 for name, entry in files.items() if name != PROVENANCE}
    return Statement(subjects, recipe, model, chain)


def read_statement(data: bytes) -> Statement:
    """Return the statement that `to_dict` wrote, from its JSON. Raises StatementError if it is malformed."""
    try:
        value = parse_json(data)
        if value["_type"] != _STATEMENT_TYPE or value["predicateType"] != _PREDICATE_TYPE:
            raise ValueError("it is no in-toto statement of provenance")
        build = value["predicate"]["buildDefinition"]
        if build["buildType"] != _BUILD_TYPE:
            raise ValueError(f"its build type is {build['buildType']!r:.80}")
        inner = build["internalParameters"]
        return Statement(
            {subject["name"]: subject["digest"]["sha256"] for subject in value["subject"]},
            Recipe(**inner["recipe"]),
            build["externalParameters"]["model"],
            Chain(tuple(Step.from_dict(step) for step in inner["steps"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StatementError(f"{PROVENANCE} is malformed: {error}") from error


def _dependencies(step: Step) -> list[dict[str, Any]]:
    """Return the files of a source as resource descriptors, with the sha1 that its publisher gave where it gave one."""
    published = step.manifest.counts.get("sha1", {})
    url = step.manifest.recipe.settings.get("url", "")
    return [
        {
            "name": name,
            **({"uri": url} if url and not url.startswith("file:") else {}),
            "digest": {"sha256": entry.sha256, **({"sha1": published[name]} if name in published else {})},
        }
        for name, entry in sorted(step.manifest.files.items())
        if name != "shards.json" and not name.endswith(".jsonl")
    ]
