"""Whether a release is what it says: its files, its chain from the sources to the weights, and its signature.

Nothing but the release directory is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.provenance.chain import Step, check_links
from jgpt_dagster.provenance.final_checkpoint import checkpoint_line, checkpoint_problem
from jgpt_dagster.provenance.finding import Finding
from jgpt_dagster.provenance.labels import parse_label
from jgpt_dagster.provenance.statement import PROVENANCE, Statement, StatementError, read_statement
from jgpt_dagster.provenance.verify_output import OnRead, verify_output
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest

_WEIGHTS_FOLDER = "model/"
_WEIGHTS = ".safetensors"


@dataclass
class ReleaseReport:
    """What was found of a release: faults, links of its chain that cannot be followed, and what was checked."""

    label: str
    files: int = 0
    links: int = 0
    statement: Statement | None = None
    findings: list[Finding] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        yield f"{self.label}: {self.files} files"
        if self.statement is None:
            yield f"  no {PROVENANCE}: nothing says what it was made of"
        else:
            steps = self.statement.chain.steps
            yield f"  chain: {len(steps)} steps, {self.links} links checked"
            for step in self.statement.chain.sources():
                yield from (f"  from {line}" for line in _source_lines(step))
            for step in steps:
                yield from (f"  {line}" for line in checkpoint_line(step))
        yield from (f"  the chain ends: {gap}" for gap in self.gaps)
        yield from (f"  {finding.line()}" for finding in self.findings)


def verify_release(directory: Path, on_read: OnRead = lambda size: None) -> ReleaseReport:
    """Check every hash that a release carries. Raises JgptError if there is no such directory."""
    if not directory.is_dir():
        raise JgptError(f"{directory} is no directory. Give the directory of a release, with its manifest.json in it.")
    release = DirectoryArtifact("release", "", directory)
    report = ReleaseReport(str(directory))
    report.findings += verify_output(release, on_read)
    manifest = release.manifest()
    if manifest is None:
        return report
    report.files = len(manifest.files)
    if PROVENANCE not in manifest.files or any(f.path == str(directory / PROVENANCE) for f in report.findings):
        return report
    try:
        statement = report.statement = read_statement((directory / PROVENANCE).read_bytes())
    except (OSError, StatementError) as error:
        report.findings.append(_fault(directory, str(error)))
        return report
    report.findings += [_fault(directory, problem) for problem in _disagreements(manifest, statement)]
    links = check_links(statement.chain, statement.recipe.inputs, statement.model)
    report.links, report.gaps = links.checked, list(links.gaps)
    report.findings += [_fault(directory, problem) for problem in links.faults]
    return report


def _fault(directory: Path, problem: str) -> Finding:
    return Finding("damaged", "release", str(directory / PROVENANCE), f"{directory / PROVENANCE}: {problem}")


def _disagreements(manifest: Manifest, statement: Statement) -> Iterator[str]:
    """Yield where the statement of a release and its manifest say different things, and the chain a third one."""
    listed = {name: entry.sha256 for name, entry in manifest.files.items() if name != PROVENANCE}
    for name in sorted(listed.keys() | statement.subjects.keys()):
        if listed.get(name) != statement.subjects.get(name):
            yield f"{name} is another file than the one that it speaks of"
    if statement.recipe != manifest.recipe:
        yield "it states another recipe than manifest.json"
    for link in statement.chain.steps:
        yield from checkpoint_problem(link)
    for label, sha256 in statement.recipe.inputs.items():
        step = statement.chain.find(str(parse_label(label, statement.model)), sha256)
        for name, entry in step.manifest.files.items() if step else ():
            released = name.removeprefix(_WEIGHTS_FOLDER)
            if released.endswith(_WEIGHTS) and listed.get(released, entry.sha256) != entry.sha256:
                yield f"{released} has other bytes than {name} of {label}, which it was made of"


def _source_lines(step: Step) -> Iterator[str]:
    published = step.manifest.counts.get("sha1", {})
    for name, entry in step.manifest.files.items():
        if name in published:
            yield f"{name}: sha1 {published[name]}, sha256 {entry.sha256}"
        elif name != "shards.json" and step.manifest.counts.get("sha256") == entry.sha256:
            yield f"{name}: sha256 {entry.sha256}"
