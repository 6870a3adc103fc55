"""The table of patches of wikiextractor: applied to the pinned release alone, and to nobody else's module."""

import importlib.metadata
import importlib.util
import tomllib
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from wikiextractor import extract

from jgpt_dagster.corpus.wikitext import wikiextractor_patches
from jgpt_dagster.corpus.wikitext.wikiextractor_patches import (
    _ATTRIBUTES_READ,
    PATCHES,
    WIKIEXTRACTOR_VERSION,
    WikiextractorVersionError,
    apply_patches,
    unpatched_module,
)
from jgpt_dagster.errors import JgptError


def import_afresh() -> None:
    """Execute the module as a first import does, without touching the one in use."""
    spec = importlib.util.find_spec(wikiextractor_patches.__name__)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_patched_release_is_the_one_that_is_pinned() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    assert f"wikiextractor=={WIKIEXTRACTOR_VERSION}" in pyproject["project"]["dependencies"]
    import_afresh()


def test_importing_with_another_release_fails_and_names_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.2.5")
    with pytest.raises(JgptError, match=r"wikiextractor 3\.1\.0 is expected, found 3\.2\.5.*pip install"):
        import_afresh()


def test_importing_without_wikiextractor_fails_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(JgptError, match=r"pip install wikiextractor==3\.1\.0"):
        import_afresh()


@pytest.mark.parametrize("attribute", sorted({*(patch.attribute for patch in PATCHES), *_ATTRIBUTES_READ.split()}))
def test_a_missing_attribute_is_named_and_nothing_is_patched(attribute: str) -> None:
    module = unpatched_module()
    owner, _, name = attribute.rpartition(".")
    delattr(attrgetter(owner)(module) if owner else module, name)
    before = dict(vars(module))
    with pytest.raises(WikiextractorVersionError, match=rf"no attribute {attribute}, .*3\.1\.0.*found version 3\.1\.0"):
        apply_patches(module)
    assert vars(module) == before


def attributes_of(module: Any) -> dict[str, Any]:
    return {patch.attribute: attrgetter(patch.attribute)(module) for patch in PATCHES}


def test_each_patch_replaces_its_attribute_in_the_private_module_alone() -> None:
    module = unpatched_module()
    originals, library = attributes_of(module), attributes_of(extract)
    apply_patches(module)
    patched = attributes_of(module)
    assert [name for name, original in originals.items() if patched[name] is original] == []
    assert attributes_of(extract) == library
