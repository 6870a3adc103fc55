"""The worked example of the guide to trust, run on the embedded sample."""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from jgpt_dagster_tests.support.deployments import DUMP, PROJECT, Deployment, text_partitions

GUIDE = (PROJECT / "docs" / "trust.md").read_text()
SHARDS = {"wikipedia": [f"{DUMP}|000", f"{DUMP}|001"], "cc100": ["000", "001"]}
PARTITIONS: dict[str, Mapping[str, Sequence[str | None]]] = {
    **{f"{corpus}_span_index": {f"{corpus}_span_index": shards} for corpus, shards in SHARDS.items()},
    "training_set": text_partitions(DUMP, ["000", "001"], cc100=True),
}


def commands() -> list[str]:
    """Return the lines of the guide's shell blocks, without their comments."""
    blocks = re.findall(r"```shell\n(.*?)```", GUIDE, flags=re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def test_every_command_of_the_guide_does_what_it_says(
    finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("model_signing.signing", "pydivsufsort", "mlcroissant", "cyclonedx"):
        pytest.importorskip(package)
    data = tmp_path / "demo" / "data"
    data.parent.mkdir()
    deployment = finished.copy_with_runs(data)
    monkeypatch.chdir(tmp_path)
    outputs = {}
    for line in commands():
        words = shlex.split(line)
        if words[0] == "openssl":
            subprocess.run(line, shell=True, check=True, capture_output=True)
        elif words[:2] == ["jgpt", "run"]:  # the same, without a process for each shard
            for asset, partitions in PARTITIONS[words[-1]].items():
                for partition in partitions:
                    made = deployment.materialize(asset, partition)
                    assert made.error is None and all(made.checks.values()), (asset, partition, made)
        elif words[0] == "jgpt":
            outputs[line] = deployment.invoke(*words[1:])
    verified = [output for line, output in outputs.items() if line.startswith("jgpt verify")]
    assert len(verified) == 3 and all(output.endswith("verified\n") for output in verified)
    assert all(output.endswith("valid\n") for line, output in outputs.items() if line.startswith("jgpt papers"))
    assert any("200 of 200 documents come out of the sources" in output for output in verified)
    assert any("signed with key.pub" in output for output in verified)
    shown = re.findall(r"```\n\$ (.*)\n((?:.*\n){3})", GUIDE)
    assert len(shown) == 2
    for command, first_lines in shown:
        assert outputs[command].startswith(first_lines)
    checked = outputs["jgpt exclude check"]
    assert checked.count(": 0 of") == 8 and "source cc100_dump" in checked and "tokenizer" in checked
    (page,) = (data / "exclusions").glob("*.md")
    assert "| wikipedia_articles 20260101 000 | 5 | 水緒県 | 70065 | 1 |" in page.read_text()
    assert "| cc100_documents 000 | 42 |" in page.read_text()
    (found,) = (output for line, output in outputs.items() if "--text" in line and "trace --text" in line)
    assert "cc100 document 42" in found
