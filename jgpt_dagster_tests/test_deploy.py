"""The files of a deployment agree with each other and with the code, and hold no password."""

import re
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

from jgpt_dagster.assets.asset_decorator import GPU_TAGS
from jgpt_dagster.cli import main
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import BIN, PROJECT

DEPLOY = PROJECT / "deploy"
EXAMPLE = dict(line.lstrip("#").split("=") for line in (DEPLOY / "example.env").read_text().splitlines() if "=" in line)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
    return content


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "workers.yaml").read_text()))


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == "jgpt-dagster"}


def test_compose_yaml_is_what_the_compose_specification_allows(tmp_path: Path) -> None:
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text((PROJECT / "compose.yaml").read_text().replace("stop_grace_period", "stop_grace_time"))
    for file, valid in ((PROJECT / "compose.yaml", True), (misspelt, False)):
        command: list[str | Path] = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode == 0) == valid, result.stdout


def test_every_service_of_the_image_starts_a_command_that_it_has(compose: dict[str, Any]) -> None:
    assert set(ours(compose)) == {"code", "webserver", "daemon", "worker-cpu", "worker-gpu"}
    for service in ours(compose).values():
        assert (BIN / service["command"][0]).exists()


@pytest.mark.parametrize("queue", ["cpu", "gpu"])
def test_a_worker_of_each_queue_is_started_as_the_command_has_it(compose: dict[str, Any], queue: str) -> None:
    name, *arguments = compose["services"][f"worker-{queue}"]["command"]
    assert (name, arguments[-1]) == ("jgpt", queue)
    assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0


def test_the_webserver_and_the_daemon_ask_the_code_location_that_is_served(compose: dict[str, Any]) -> None:
    (location,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    served = compose["services"][location["grpc_server"]["host"]]["command"]
    assert served[-2:] == ["--port", str(location["grpc_server"]["port"])]
    assert "jgpt_dagster.definitions" in served
    for name in ("webserver", "daemon"):
        assert compose["services"][name]["command"][-2:] == ["--workspace", "deploy/workspace.yaml"]


def test_the_instance_is_one_that_dagster_takes_with_the_variables_that_services_are_given(
    compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dagster_celery")
    text = (DEPLOY / "dagster.yaml").read_text()
    given = {**EXAMPLE, **compose["x-jgpt"]["environment"]}
    assert set(re.findall(r"\{ env: (\w+) \}", text)) <= set(given)
    config = yaml.safe_load(text)
    for name, value in {"REDIS_URL": "redis://127.0.0.1:1/0", "JGPT_COMPUTE_LOGS": str(tmp_path / "logs")}.items():
        monkeypatch.setenv(name, value)
    # All but the database, which Dagster connects to at once.
    with dg.instance_for_test(overrides={key: value for key, value in config.items() if key != "storage"}) as instance:
        assert type(instance.run_launcher).__name__ == "QueueRunLauncher"
        assert instance.run_monitoring_enabled and instance.run_retries_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


def test_the_variables_of_the_pipeline_are_settings_and_passwords_come_from_outside(compose: dict[str, Any]) -> None:
    given = {*EXAMPLE, *compose["x-jgpt"]["environment"]}
    pipeline = {name.removeprefix("JGPT_").lower() for name in given if name.startswith("JGPT_")}
    assert pipeline - {"compute_logs"} <= set(Settings.model_fields)
    assert not EXAMPLE["POSTGRES_PASSWORD"] and not EXAMPLE["REDIS_PASSWORD"]
    interpolated = set(re.findall(r"\$\{(\w+)", (PROJECT / "compose.yaml").read_text()))
    assert interpolated <= set(EXAMPLE)
    for name in re.findall(r"PASSWORD\S*: (\S+)", (PROJECT / "compose.yaml").read_text()):
        assert name.startswith("${")


def test_nothing_listens_beyond_loopback_unless_told(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert {port.partition(":-127.0.0.1}:")[0] for port in published} == {"${BIND_ADDRESS", "${UI_ADDRESS"}
    assert (EXAMPLE["BIND_ADDRESS"], EXAMPLE["UI_ADDRESS"]) == ("127.0.0.1", "127.0.0.1")


def test_every_object_for_kubernetes_is_one_of_its_interface(manifests: list[dict[str, Any]]) -> None:
    client, models = pytest.importorskip("kubernetes.client"), pytest.importorskip("dagster_k8s.models")
    for manifest in manifests:
        kind = getattr(client, f"V1{manifest['kind']}")
        # Refuses a field that the kind has not, and a value of another type than the field's.
        models.k8s_model_from_dict(kind, models.k8s_snake_case_dict(kind, manifest))
    with pytest.raises(Exception, match="replica"):
        models.k8s_snake_case_dict(client.V1DeploymentSpec, {"replica": 1})


def test_the_tags_of_training_ask_kubernetes_for_gpus_in_its_own_terms() -> None:
    job = pytest.importorskip("dagster_k8s.job")
    pod = job.construct_dagster_k8s_job(
        job.DagsterK8sJobConfig(job_image="jgpt-dagster", dagster_home="/opt/dagster"),
        args=["dagster"],
        job_name="step",
        user_defined_k8s_config=job.UserDefinedDagsterK8sConfig.from_dict(GPU_TAGS["dagster-k8s/config"]),
    ).spec.template.spec
    assert pod.containers[0].resources.limits == {"nvidia.com/gpu": "8"}


def test_kubernetes_has_the_same_instance_and_its_workers_read_it(manifests: list[dict[str, Any]]) -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    instance = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    launcher = values["runLauncher"]["config"]["customRunLauncher"]
    assert launcher == instance["run_launcher"]
    for name, settings in values["additionalInstanceConfig"].items():
        assert settings == instance[name]
    assert values["dagsterWebserver"]["service"]["port"] > 1024, "the image's user is not root"
    assert values["postgresql"]["postgresqlScheme"] == instance["storage"]["postgres"]["postgres_db"]["scheme"]
    (code,) = values["dagster-user-deployments"]["deployments"]
    workers = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    assert [worker["metadata"]["name"] for worker in workers] == ["jgpt-worker-cpu", "jgpt-worker-gpu"]
    user = re.search(r"--uid (\d+)", (PROJECT / "Dockerfile").read_text())
    assert user
    of_data = {"fsGroup": int(user[1])}
    for part in (values["dagsterWebserver"], values["dagsterDaemon"], code):
        assert part["podSecurityContext"] == of_data
    for worker in workers:
        pod = worker["spec"]["template"]["spec"]
        assert pod["securityContext"] == of_data
        (container,) = pod["containers"]
        assert container["image"] == "{repository}:{tag}".format(**code["image"])
        assert CliRunner().invoke(main, [*container["command"][1:], "--help"]).exit_code == 0
        assert {"name": "DAGSTER_HOME", "value": values["global"]["dagsterHome"]} in container["env"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    limits = workers[1]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    expected: Any = GPU_TAGS["dagster-k8s/config"]
    assert limits == expected["container_config"]["resources"]["limits"]
