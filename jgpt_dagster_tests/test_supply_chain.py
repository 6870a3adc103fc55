"""What is installed is what was tested: every file by its hash, every version that of constraints.txt, audited."""

import json
import os
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distributions, requires
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from jgpt_dagster_tests.support.deployments import PROJECT

LOCKS = {path.stem: path.read_text() for path in (PROJECT / "requirements").glob("*.txt")}
LOCK = runpy.run_path(str(PROJECT / ".ci" / "lock.py"))
pins = LOCK["pins"]
CONSTRAINTS = pins((PROJECT / "constraints.txt").read_text())


@pytest.mark.parametrize("name", ["build", "dev", "runtime", "sbom", "torch", "torch-cpu"])
def test_every_pin_is_that_of_the_constraints_and_has_hashes(name: str) -> None:
    lock = LOCKS[name]
    found = pins(lock)
    assert found and {pin: version.partition("+")[0] for pin, version in found.items()}.items() <= CONSTRAINTS.items()
    blocks = re.split(r"\n(?=[^ #\n])", re.sub("^#.*\n", "", lock, flags=re.MULTILINE).strip())
    assert len(blocks) == len(found)
    assert all(re.fullmatch(r"[\w.-]+==.*(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+", block) for block in blocks)
    assert "://" not in lock


def needed(package: str, extras: frozenset[str], python: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the names of all that a package requires, with extras, under a release of Python on this platform."""
    interpreter = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    for requirement in map(Requirement, requires_of(package)):
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate({"extra": extra, **interpreter}) for extra in ("", *extras))
        key = (canonicalize_name(requirement.name), ",".join(sorted(requirement.extras)))
        if wanted and key not in seen:
            seen.add(key)
            yield key[0]
            yield from needed(key[0], frozenset(requirement.extras), python, seen)


@cache
def requires_of(package: str) -> list[str]:
    """Return what a package requires; what is not installed, because this Python does not need it, requires nothing."""
    try:
        return requires(package) or []
    except PackageNotFoundError:
        return []


# Debian 12 has the first: its patch release decides what some packages require.
@pytest.mark.parametrize("python", ["3.11.2", "3.12.3"])
@pytest.mark.parametrize(("lock", "extras"), [("runtime", {"cluster", "s3"}), ("dev", {"dev"})])
def test_pip_needs_nothing_beyond_the_lists(lock: str, extras: set[str], python: str) -> None:
    listed = pins(LOCKS[lock]).keys() | pins(LOCKS["torch-cpu"]).keys() | {"jgpt-dagster"}
    build = pins(LOCKS["build"]).keys()
    assert {*needed("jgpt-dagster", frozenset(extras), python, set())} - listed - build == set()


def test_every_distribution_of_the_lists_can_be_installed_under_the_python_of_debian_12() -> None:
    installed = {canonicalize_name(found.name): found for found in distributions()}
    locked = pins("".join(LOCKS.values())).items()
    asked = [
        (name, installed[name].metadata["Requires-Python"] or "")
        for name, version in locked
        if name in installed and installed[name].version == version
    ]
    assert len(asked) > 100
    assert [pair for pair in asked if "3.11.2" not in SpecifierSet(pair[1])] == []
    assert LOCK["_PYTHON"] == "3.11.2"


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_every_installation_but_that_of_the_project_itself_requires_hashes(file: str) -> None:
    text = re.sub(r"\\\n", " ", (PROJECT / file).read_text())
    commands = re.findall(r"pip install[^&|;}\n]*", re.sub("#.*", "", text))
    project = [command for command in commands if re.search(r" \.\s*$", command)]
    assert len(project) == 1 and "--no-build-isolation" in project[0] and "--no-deps" in project[0]
    assert len(commands) > 1
    assert all("--require-hashes" in command for command in commands if command not in project)


class Osv(BaseHTTPRequestHandler):
    """Knows of one vulnerability, of numpy."""

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        results: list[dict[str, Any]] = [{} for _ in queries]
        (place,) = [place for place, query in enumerate(queries) if query["package"]["name"] == "numpy"]
        results[place] = {"vulns": [{"id": "PYSEC-0-0", "modified": "2026-01-01"}]}
        content = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def audit(url: str) -> tuple[int, str]:
    command = [sys.executable, str(PROJECT / ".ci" / "audit.py")]
    done = subprocess.run(command, env={**os.environ, "OSV_URL": url}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_audit_fails_on_a_finding_and_is_skipped_by_name_without_a_network() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, output = audit(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert code == 1 and f"numpy=={CONSTRAINTS['numpy']}: PYSEC-0-0" in output and "1 with known" in output
    code, output = audit(f"http://127.0.0.1:{server.server_port}")
    assert code == 0 and output.startswith("dependency audit skipped: http://127.0.0.1")
