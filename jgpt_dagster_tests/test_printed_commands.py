"""Commands that are printed to be pasted run as they are meant, whatever is in their values."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from jgpt_dagster.catalog.status import OutputStatus, Status, next_step
from jgpt_dagster.cli import main
from jgpt_dagster.orchestration.interrupted_training import resume_command
from jgpt_dagster.sample import pack
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster_tests.support.deployments import PROJECT

HOSTILE = 'it\'s $(touch escaped) `touch escaped`; touch escaped & * "x"'

# The beginning of a command, up to a value in it.
_COMMAND = re.compile(
    r"(?:^|[\s`(])(?:jgpt|dagster|dg|pip|export|rm|chmod|chown|mv|cp|kill|ssh|curl|wget|docker|sudo|echo) "
    r"(?:[^.\n`]|\.(?!\s))*$"
)


def quoted(value: ast.expr) -> bool:
    """Whether a value in a command is quoted for the shell, or a constant."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func) in ("shlex.quote", "shlex.join")
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Name) and value.id.isupper())


def test_every_value_in_a_command_of_a_message_is_quoted() -> None:
    unquoted, commands = [], 0
    for path in sorted((PROJECT / "jgpt_dagster").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            before = ""
            for part in node.values if isinstance(node, ast.JoinedStr) else []:
                if isinstance(part, ast.Constant):
                    before += str(part.value)
                elif isinstance(part, ast.FormattedValue):
                    if _COMMAND.search(before):
                        commands += 1
                        unquoted += [] if quoted(part.value) else [f"{path.name}:{part.lineno} {ast.unparse(part)}"]
                    before += "x"
    assert commands and not unquoted, unquoted


def test_the_command_that_rebuilds_an_output_names_its_partition_whatever_it_is() -> None:
    command = shlex.split(DirectoryArtifact("release", HOSTILE, Path("x")).rebuild_command)
    assert command[-4:] == ["--select", "release", "--partition", HOSTILE]
    missing = OutputStatus(DirectoryArtifact("release", HOSTILE, Path("x")), "missing")
    step = next_step(Status(None, []), Status(HOSTILE, [missing]), "tiny")
    assert shlex.split(step) == ["jgpt", "run", "--dump", HOSTILE]


def test_the_command_that_resumes_names_its_model_unless_it_is_that_of_the_environment() -> None:
    command = ["jgpt", "run", "--dump", "20260101", "--to", "release"]
    assert shlex.split(resume_command("20260101", "tiny", "tiny", until="release")) == command
    resumed = resume_command("20260101", HOSTILE, "tiny", until="release")
    assert shlex.split(resumed) == [f"JGPT_MODEL={HOSTILE}", *command]


def test_the_lines_to_export_set_the_values_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    assert pack.main([str(folder)]) == 0
    monkeypatch.setenv("JGPT_DATA", str(folder))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    listed = CliRunner().invoke(main, ["dumps", "list"])
    lines = [*capsys.readouterr().out.splitlines(), *listed.stderr.splitlines()]
    assert lines and all(line.startswith("export ") for line in lines)
    script = "\n".join([*lines, 'printf "%s\\n" "$JGPT_DUMPS_URL" "$JGPT_CC100_URL" "$DAGSTER_HOME"'])
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        folder.as_uri(),
        (folder / "cc-100" / "ja.txt.xz").as_uri(),
        str(folder / ".dagster"),
    ]
    assert not list(tmp_path.rglob("escaped"))
