"""No command acts on a data root with settings that it was not made with."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jgpt_dagster.cli import main
from jgpt_dagster.storage.data_root import PINNED, RootMismatchError
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, mini_deployment

MADE_WITH: dict[str, str | int] = {"wiki": "miniwiki", "text": "clean", "segmenter": "mecab", "shards": 2}
OTHERS = {"WIKI": "otherwiki", "TEXT": "seed", "SEGMENTER": "jumanpp", "SHARDS": "3"}
# `generate` reads a finished release, which knows how it was made, `leaderboard` what evaluations found, and `models`
# nothing of a root.
COMMANDS = {
    "run": ["--dump", DUMP],
    "status": [],
    "plan": ["--dump", DUMP],
    "config": [],
    "config set": ["training_set.validation_share=0.2", "--yes"],
    "dumps add": ["20270101"],
    "dumps list": [],
    "dumps available": [],
    "dumps remove": ["--force", DUMP],
    "dumps prune": ["--keep", "1"],
    "prune": [],
    "doctor": [],
    "publish": ["owner/name"],
    "evaluate": ["--ngrams"],
    "compare": [DUMP, "20260120"],
    "trace": ["--step", "1"],
    "exclude add": ["--title", "x", "--reason", "y"],
    "exclude list": [],
    "exclude remove": ["1"],
    "exclude check": [],
    "text report": ["--dump", DUMP],
    "ui": [],
    "webserver": [],
    "worker": ["--queue", "cpu"],
}


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A root with an output of a dump, which a command that is not refused would list, change or delete."""
    deployment = mini_deployment(tmp_path).with_settings(SHARDS="2")
    deployment.root.pin_settings(MADE_WITH)
    (deployment.data / "wikipedia_dump" / f"dump={DUMP}").mkdir(parents=True)
    return deployment


def contents(deployment: Deployment) -> list[Path]:
    return sorted(deployment.data.rglob("*"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_other_settings_is_refused_and_changes_nothing(deployment: Deployment, name: str) -> None:
    before = contents(deployment)
    refused = deployment.with_settings(TEXT="seed").try_invoke(*name.split(), *COMMANDS[name])
    assert refused.code == 1
    assert "JGPT_TEXT=seed, but the data in it was made with clean" in refused.output
    assert contents(deployment) == before


@pytest.mark.parametrize("setting", PINNED)
def test_every_setting_that_a_root_cannot_mix_protects_its_dumps(deployment: Deployment, setting: str) -> None:
    before = contents(deployment)
    name = setting.upper()
    refused = deployment.with_settings(**{name: OTHERS[name]}).try_invoke("dumps", "remove", "--force", DUMP)
    assert refused.code == 1 and f"JGPT_{name}={OTHERS[name]}, but the data" in refused.output
    assert contents(deployment) == before


def test_the_list_holds_every_command() -> None:
    groups = {"dumps", "config", "exclude", "text"}
    # These read a release, a model or a folder of tasks, of whatever settings.
    others = {"generate", "leaderboard", "models", "papers", "sign", "tasks", "verify"}
    listed = {name.split()[0] for name in COMMANDS} | others
    assert listed == {*main.list_commands(click.Context(main))}
    for group in groups:
        found = CliRunner().invoke(main, [group, "--help"]).output.partition("Commands:\n")[2]
        subcommands = {line.split()[0] for line in found.splitlines() if line.startswith("  ") and line[2] != " "}
        assert {f"{group} {name}" for name in subcommands} <= COMMANDS.keys()


def test_a_damaged_record_of_the_settings_is_refused_and_says_what_to_do(deployment: Deployment) -> None:
    for content in ("{", "[1]", '"text"', "null", "3"):
        (deployment.data / "root.json").unlink()
        (deployment.data / "root.json").write_text(content)
        with pytest.raises(RootMismatchError, match=r"root\.json is damaged.*JGPT_WIKI=miniwiki, JGPT_TEXT=clean"):
            deployment.root.pin_settings(MADE_WITH)
        assert deployment.try_invoke("dumps", "remove", "--force", DUMP).code == 1
