"""Whether the papers of a release hold what their formats ask, by the formats' own validators (extra `papers`)."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.provenance.papers.write_papers import BILL_OF_MATERIALS, CROISSANT, PAPERS


def check_papers(directory: Path) -> list[str]:
    """Return in words what is wrong with the papers in the directory of a release.

    Raises JgptError if the validators are not installed.
    """
    for library in ("mlcroissant", "cyclonedx"):
        if find_spec(library) is None:
            raise JgptError(f"{library} is not installed. Run: pip install 'jgpt-dagster[papers]'")
    missing = [f"{name} is missing" for name in PAPERS if not (directory / name).is_file()]
    return missing or [*_croissant_problems(directory / CROISSANT), *_bill_problems(directory / BILL_OF_MATERIALS)]


def _croissant_problems(path: Path) -> Iterator[str]:
    import mlcroissant

    try:
        issues = mlcroissant.Dataset(jsonld=str(path)).metadata.ctx.issues
    except Exception as error:  # whatever the library makes of what is no description
        yield f"{path.name}: {str(error).strip() or type(error).__name__}"
    else:
        yield from (f"{path.name}: {problem}" for problem in sorted(issues.errors | issues.warnings))


def _bill_problems(path: Path) -> Iterator[str]:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    try:
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"{path.name} is no JSON: {error}"
        return
    if problem is not None:
        yield f"{path.name}: {problem.data.message} at {'/'.join(map(str, problem.data.absolute_path)) or 'the top'}"
