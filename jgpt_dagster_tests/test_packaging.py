"""The wheel and the sdist install into an environment without the checkout, and work there."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from jgpt_dagster_tests.support.deployments import PROJECT

pytestmark = pytest.mark.slow

BUILD = """
from setuptools import build_meta
build_meta.build_sdist("dist")
build_meta.build_wheel("dist")
"""

SEGMENTER = """
from jgpt_dagster.corpus.segmenters.base import PieceSegmenter

class Letters(PieceSegmenter):
    fingerprint = "letters 1"

    def _split(self, pieces):
        return [" ".join(piece) for piece in pieces]

    def close(self):
        pass
"""

USE_SEGMENTER = """
import jgpt_dagster
from jgpt_dagster.corpus.segmenters import open_segmenter

with open_segmenter("letters") as segmenter:
    print(jgpt_dagster.__file__, *segmenter.segment(["海に近い町"])[0])
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built wheel and sdist. They are built of a copy: building leaves files in the source tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("jgpt_dagster", "jgpt_dagster_tests"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    _run(sys.executable, "-c", BUILD, cwd=source)
    return source / "dist"


def test_both_hold_the_package_with_its_data_and_no_tests(dist: Path) -> None:
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    source = PROJECT / "jgpt_dagster"
    expected = {
        str(path.relative_to(PROJECT))
        for path in source.rglob("*")
        if path.is_file()
        and (path.suffix in (".py", ".yaml") or path.is_relative_to(source / "sample") or path.name == "py.typed")
    }
    expected = {name for name in expected if "__pycache__" not in name}
    assert expected >= {"jgpt_dagster/py.typed", "jgpt_dagster/sample/demo.yaml", "jgpt_dagster/sample/documents.txt"}
    assert any(name.endswith(".wiki") for name in expected)
    with zipfile.ZipFile(wheel) as in_wheel, tarfile.open(sdist) as in_sdist:
        held = {
            "wheel": in_wheel.namelist(),
            "sdist": [name.partition("/")[2] for name in in_sdist.getnames()],
        }
    for kind, names in held.items():
        assert sorted(expected - {*names}) == [], f"missing in the {kind}"
        assert [name for name in names if name.startswith("jgpt_dagster_tests")] == [], kind


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installation_without_the_checkout_runs_the_command_the_sample_and_a_segmenter_of_another_package(
    kind: str, dist: Path, tmp_path: Path
) -> None:
    (package,) = dist.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    environment = tmp_path / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    (packages,) = environment.glob("lib/python*/site-packages")
    # A plain path in a .pth file brings the dependencies, but not the editable installation beside them.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = environment / "bin" / "python"
    install = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    _run(python, *install, "--ignore-installed", package, cwd=tmp_path)

    (packages / "letters.py").write_text(SEGMENTER)
    installed = packages / "letters-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[jgpt_dagster.segmenters]\nletters = letters:Letters\n")
    assert _run(python, "-c", USE_SEGMENTER, cwd=tmp_path).split() == [
        str(packages / "jgpt_dagster" / "__init__.py"),
        *"海に近い町",
    ]

    assert "Pretrain a Japanese GPT-2" in _run(environment / "bin" / "jgpt", "--help", cwd=tmp_path)
    _run(python, "-m", "jgpt_dagster.sample.pack", tmp_path / "mirror", cwd=tmp_path)
    assert (tmp_path / "mirror" / "cc-100" / "ja.txt.xz").stat().st_size > 0
    assert list((tmp_path / "mirror" / "samplewiki").glob("*/*.xml.bz2"))


def _run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, with no variable that could lead it to the checkout; return what it prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JGPT_", "PIP_"))
    }
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_make_generate_passes_a_prompt_on_as_it_was_given(tmp_path: Path) -> None:
    installed, jgpt, prompt = tmp_path / "installed", tmp_path / "jgpt", "「それ」は'100$'です。$(x) \"y\" `z`"
    installed.touch()
    jgpt.write_text('#!/bin/sh\nprintf %s "$3"\n')
    jgpt.chmod(0o755)
    given = [f"INSTALLED={installed}", f"BIN={tmp_path}", f"PROMPT={prompt}"]
    command = ["make", "-s", "-o", str(installed), "generate", *given]
    # The tests run below `make` too, which tells a make below it to name the directories that it enters.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    assert subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout == prompt
