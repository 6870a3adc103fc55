"""`jgpt doctor` names what would stop a run, before it does."""

from pathlib import Path

from jgpt_dagster.cli.doctor import unknown_variables
from jgpt_dagster_tests.support.deployments import Deployment, mini_deployment


def test_a_sound_deployment_is_ok_and_one_with_faults_names_each(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path)
    lines = deployment.invoke("doctor").splitlines()
    subjects = {line.split()[1] for line in lines}
    assert subjects >= {"settings", "mirror", "disk", "memory", "compilers", "GPUs", "segmenter", "UI"}
    assert not any(line.startswith("fail") for line in lines)
    assert any("the newest finished dump is 20260101" in line for line in lines)
    wrong = Deployment(deployment.data, {**deployment.settings, "DUMPS_URL": "file:///nowhere", "MODLE": "small"})
    found = wrong.try_invoke("doctor")
    assert found.code == 1
    assert "fail mirror     file:///nowhere/miniwiki: there is no directory" in found.output
    assert "note settings   JGPT_MODLE is no setting; JGPT_MODEL is" in found.output


def test_folders_and_files_that_settings_name_are_looked_at(tmp_path: Path) -> None:
    deployment, news = mini_deployment(tmp_path), tmp_path / "news"
    news.mkdir()
    (news / "a.txt").write_text("海に近い町。")
    settings = {"FOLDERS": f"news={news},mail={tmp_path / 'mail'}", "TASKS": str(tmp_path / "tasks")}
    found = Deployment(deployment.data, {**deployment.settings, **settings}).try_invoke("doctor")
    assert found.code == 1 and f"ok   folder     news reads {news}" in found.output
    assert f"fail folder     mail: {tmp_path / 'mail'}" in found.output
    assert f"fail file       JGPT_TASKS={tmp_path / 'tasks'} is not there" in found.output


def test_what_looks_like_a_setting_is_found_and_nothing_else() -> None:
    others = {"PATH": "", "HOME": "", "DAGSTER_HOME": "", "JGPT_DATA": "", "jgpt_wiki": "", "JGPT_TEST_DATA": ""}
    assert list(unknown_variables(others)) == []
    wrong = {"JGPT_SHARD": "", "JPGT_DATA": "", "JGPT_MODLE": "", "JGPT_XYZZY": "", "JGPTWORKERS": ""}
    assert dict(unknown_variables(wrong)) == {
        "JGPT_SHARD": "JGPT_SHARDS",
        "JPGT_DATA": "JGPT_DATA",
        "JGPT_MODLE": "JGPT_MODEL",
        "JGPT_XYZZY": "",
        "JGPTWORKERS": "JGPT_WORKERS",
    }
