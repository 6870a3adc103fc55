"""The files of a deployment agree with each other and with the code, and hold no password."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
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
from jgpt_dagster_tests.support.local_servers import postgres_server, redis_server

DEPLOY = PROJECT / "deploy"
EXAMPLE = dict(
    re.findall(r"^#?([A-Z_]+)=(.*)$", (DEPLOY / "example.env").read_text(), flags=re.MULTILINE),
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
    return content


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "workers.yaml").read_text()))


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if "jgpt-dagster" in service["image"]}


def test_compose_yaml_is_what_the_compose_specification_allows(tmp_path: Path) -> None:
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text((PROJECT / "compose.yaml").read_text().replace("stop_grace_period", "stop_grace_time"))
    for file, valid in ((PROJECT / "compose.yaml", True), (DEPLOY / "compose.tls.yaml", True), (misspelt, False)):
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
    assert pipeline - {"compute_logs", "image"} <= set(Settings.model_fields)
    assert not any(EXAMPLE[name] for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "UI_PASSWORD_HASH"))
    interpolated = set(re.findall(r"\$\{(\w+)", (PROJECT / "compose.yaml").read_text()))
    assert interpolated <= set(EXAMPLE)
    for name in re.findall(r"PASSWORD\S*: (\S+)", (PROJECT / "compose.yaml").read_text()):
        assert name.startswith("${") or name == '""'


def test_nothing_listens_beyond_loopback_unless_told(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert {port.partition(":-127.0.0.1}:")[0] for port in published} == {"${BIND_ADDRESS", "${UI_ADDRESS"}
    assert (EXAMPLE["BIND_ADDRESS"], EXAMPLE["UI_ADDRESS"]) == ("127.0.0.1", "127.0.0.1")


def test_the_ui_is_reached_through_the_login_alone(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert "ports" not in services["webserver"]
    assert services["webserver"]["command"][:2] == ["jgpt", "webserver"]
    with_login = [name for name, service in services.items() if "ui" in service.get("networks", ["default"])]
    assert with_login == ["webserver", "proxy"] and services["proxy"]["networks"] == ["ui"]
    proxy = services["proxy"]["environment"]
    assert {"UI_ADDRESS", "UI_NAME", "UI_USER", "UI_PASSWORD_HASH", "UI_TLS"} <= set(proxy)
    # The address that start.sh judges is the one that is published.
    assert services["proxy"]["ports"] == [f"{proxy['UI_ADDRESS']}:3000:3000"]
    script = DEPLOY / "proxy" / "start.sh"
    assert os.access(script, os.X_OK)
    (program,) = services["proxy"]["entrypoint"]
    assert f"./{script.parent.relative_to(PROJECT)}:{Path(program).parent}:ro" in services["proxy"]["volumes"]


def test_every_container_is_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"] in ("1000:1000", "postgres", "redis"), name
        assert service["pids_limit"] and service["mem_limit"], name
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else []), name
        # A tag names one release, and a variable can replace it by a digest.
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-(jgpt-dagster|[a-z]+:\d+\.\d+(\.\d+)?)\}", service["image"]), name


def test_every_pod_is_confined(manifests: list[dict[str, Any]]) -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    (code,) = values["dagster-user-deployments"]["deployments"]
    containers = [values["dagsterWebserver"], values["dagsterDaemon"], code]
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]["spec"]
            assert pod["automountServiceAccountToken"] is False
            containers += pod["containers"]
    for container in containers:
        context = container["securityContext"]
        assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]} and not context["allowPrivilegeEscalation"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"/tmp", "/home/jgpt"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
        assert container["resources"]["limits"]


def test_network_policies_select_every_pod_and_let_only_clients_in(manifests: list[dict[str, Any]]) -> None:
    client, models = pytest.importorskip("kubernetes.client"), pytest.importorskip("dagster_k8s.models")
    policies = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "network-policy.yaml").read_text()))
    for policy in policies:
        models.k8s_model_from_dict(client.V1NetworkPolicy, models.k8s_snake_case_dict(client.V1NetworkPolicy, policy))
        assert policy["spec"]["policyTypes"] == ["Ingress"]
    webserver, code, daemon, workers = (policy["spec"] for policy in policies)
    # The chart's labels.
    (webservers,) = webserver["podSelector"]["matchExpressions"]
    assert webservers["values"] == ["dagster-webserver", "dagster-webserver-read-only"]
    assert code["ingress"][0]["from"][0] == {"podSelector": webserver["podSelector"]}
    assert code["podSelector"]["matchLabels"] == {"component": "user-deployments", "deployment": "jgpt"}
    assert daemon["podSelector"]["matchLabels"] == {"component": "dagster-daemon"}
    (expression,) = workers["podSelector"]["matchExpressions"]
    assert expression["values"] == [
        manifest["spec"]["template"]["metadata"]["labels"]["app"]
        for manifest in manifests
        if manifest["kind"] == "Deployment"
    ]
    assert daemon["ingress"] == workers["ingress"] == []
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert code["ingress"][0]["ports"] == [{"port": deployment["port"]}]
    assert webserver["ingress"][0]["ports"] == [{"port": values["dagsterWebserver"]["service"]["port"]}]


def test_the_image_starts_the_guarded_webserver_under_the_name_that_the_chart_knows(tmp_path: Path) -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text()
    (folder,) = re.findall(r"^COPY deploy/bin (\S+)$", dockerfile, flags=re.MULTILINE)
    assert f"ENV PATH={folder}:/opt/venv/bin:$PATH" in dockerfile
    (tmp_path / "jgpt").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "jgpt").chmod(0o755)
    path = f"{DEPLOY / 'bin'}:{tmp_path}:{os.environ['PATH']}"
    # What the chart runs.
    command = ["/bin/bash", "-c", "dagster-webserver -h 0.0.0.0 -p 3000 -w /dagster-workspace/workspace.yaml"]
    shown = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True).stdout
    assert shown == "webserver -h 0.0.0.0 -p 3000 -w /dagster-workspace/workspace.yaml\n"


def test_dagsters_database_role_owns_its_database_and_no_other(tmp_path: Path) -> None:
    with postgres_server(superuser="postgres") as variables:
        server = ["--host", variables["POSTGRES_HOST"], "--port", variables["POSTGRES_PORT"]]
        wrapper = tmp_path / "psql"
        # The image's psql connects by the socket of its container.
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("psql")} {" ".join(server)} "$@"\n')
        wrapper.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DAGSTER_PASSWORD": "a'b"}
        subprocess.run([DEPLOY / "postgres" / "create-role.sh"], env=environment, check=True)

        def query(user: str, database: str, statement: str) -> str:
            options = ["--username", user, "--dbname", database, "--tuples-only", "--no-align", "--command", statement]
            done = subprocess.run([str(wrapper), *options], capture_output=True, text=True, check=False)
            return (done.stdout or done.stderr).strip()

        rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        assert query("dagster", "dagster", f"SELECT {rights} FROM pg_roles WHERE rolname = 'dagster'") == "f|f|f|f|f"
        assert query("dagster", "dagster", "CREATE TABLE runs (id int)") == "CREATE TABLE"
        assert "must be superuser" in query("dagster", "dagster", "COPY runs FROM PROGRAM 'id'")
        assert "permission denied" in query("dagster", "postgres", "SELECT 1")
        assert (
            query("postgres", "postgres", "SELECT rolpassword IS NULL FROM pg_authid WHERE rolname='postgres'") == "t"
        )


@pytest.fixture
def certificates() -> Iterator[Path]:
    """A folder with a certificate authority and a certificate of `localhost`, which servers of other users can read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    script = """
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost' > names
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt
"""
    subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, check=True)
    yield folder
    shutil.rmtree(folder)


def test_with_certificates_the_database_and_the_queue_take_encrypted_connections_alone(
    certificates: Path, tmp_path: Path
) -> None:
    psycopg2, redis, celery = map(pytest.importorskip, ("psycopg2", "redis", "celery"))
    tls = yaml.safe_load((DEPLOY / "compose.tls.yaml").read_text())
    shutil.copy(DEPLOY / "postgres-tls" / "pg_hba.conf", certificates)

    def here(arguments: list[str]) -> list[str]:
        places = {"/etc/postgresql/": f"{certificates}/", "/tls/": f"{certificates}/", "${REDIS_PASSWORD:?}": "secret"}
        return [re.sub("|".join(map(re.escape, places)), lambda place: places[place[0]], word) for word in arguments]

    _, *queue = here(tls["services"]["redis"]["command"])
    with redis_server(tmp_path, queue) as address:
        location = address.removeprefix("redis://127.0.0.1").removesuffix("/0")
        given = tls["x-client"]["environment"]["REDIS_URL"]
        assert given.startswith("rediss://:${REDIS_PASSWORD:?}@${SERVER_ADDRESS:-redis}:6379/0?ssl_cert_reqs=required&")
        (url,) = here([given.replace("${SERVER_ADDRESS:-redis}:6379", f"localhost{location}")])
        # As the run launcher uses it, for messages and for results.
        application = celery.Celery(broker=url, backend=url)
        application.connection().ensure_connection(max_retries=1)
        assert application.backend.client.ping()
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(f"redis://:secret@localhost{location}/0").ping()

    key = certificates / "server.key"
    key.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(key, "postgres")
    _, *database = here(tls["services"]["postgres"]["command"])
    with postgres_server(options=database) as variables:
        login = {"host": "localhost", "port": variables["POSTGRES_PORT"], "user": "dagster", "dbname": "postgres"}
        mode = tls["x-client"]["environment"]["PGSSLMODE"]
        # Only an encrypted connection to the right server gets as far as the password.
        with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
            psycopg2.connect(**login, sslmode=mode, sslrootcert=certificates / "ca.crt")
        other = certificates / "server.crt"
        with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
            psycopg2.connect(**login, sslmode=mode, sslrootcert=other)
        with pytest.raises(psycopg2.OperationalError, match="no encryption"):
            psycopg2.connect(**login, sslmode="disable")


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
