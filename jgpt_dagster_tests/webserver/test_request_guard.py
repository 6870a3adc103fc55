"""Requests that a page of another site can make a browser send, against Dagster's real webserver with the guard."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Scope
from starlette.websockets import WebSocketDisconnect

from jgpt_dagster.webserver.request_guard import RequestGuard, refusal

UI = "http://127.0.0.1:3000"
JSON = {"content-type": "application/json"}
MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "attacked", limit: 9) }'
BODY = json.dumps({"query": MUTATION})
QUERY = f"?query={quote(MUTATION)}"
REPORT = "/report_asset_materialization/attacked"
FOREIGN = {"origin": "https://evil.example"}

# Each has its effect on Dagster's webserver without the guard.
ATTACKS: dict[str, tuple[str, str, dict[str, str], str | None]] = {
    "mutation by GET": ("GET", f"/graphql{QUERY}", {}, None),
    "mutation by GET, with a line end that the router ignores": ("GET", f"/graphql%0A{QUERY}", {}, None),
    "mutation by GET, encoded": ("GET", f"/%67raphql{QUERY}", {}, None),
    "form whose address holds the mutation": (
        "POST",
        f"/graphql{QUERY}",
        {"content-type": "application/x-www-form-urlencoded"},
        "x=y",
    ),
    "multipart form": ("POST", f"/graphql{QUERY}", {"content-type": "multipart/form-data; boundary=x"}, "--x--"),
    "plain text": ("POST", f"/graphql{QUERY}", {"content-type": "text/plain"}, "x"),
    "no content type": ("POST", f"/graphql{QUERY}", {}, None),
    "JSON that a browser takes for plain text": (
        "POST",
        "/graphql",
        {"content-type": "text/plain; application/json"},
        BODY,
    ),
    "another type of GraphQL": ("POST", "/graphql", {"content-type": "application/graphql"}, MUTATION),
    "JSON of another origin": ("POST", "/graphql", {**JSON, **FOREIGN}, BODY),
    "JSON of a sandboxed page": ("POST", "/graphql", {**JSON, "origin": "null"}, BODY),
    "JSON of another port": ("POST", "/graphql", {**JSON, "origin": "http://127.0.0.1:8000"}, BODY),
    "JSON of a name that begins like the server's": (
        "POST",
        "/graphql",
        {**JSON, "origin": "http://127.0.0.1:3000.evil.example"},
        BODY,
    ),
    "JSON of an origin with a user": ("POST", "/graphql", {**JSON, "origin": f"http://evil@{UI[7:]}"}, BODY),
    "JSON of another site without an origin": ("POST", "/graphql", {**JSON, "sec-fetch-site": "cross-site"}, BODY),
    "JSON of the same site without an origin": ("POST", "/graphql", {**JSON, "sec-fetch-site": "same-site"}, BODY),
    "JSON with a foreign referer alone": ("POST", "/graphql", {**JSON, "referer": "http://evil.example/x"}, BODY),
    "JSON under a rebound name": (
        "POST",
        "/graphql",
        {**JSON, "host": "evil.example:3000", "origin": "http://evil.example:3000"},
        BODY,
    ),
    "report of an asset without a body": ("POST", f"{REPORT}?partition=x", {}, None),
    "report of an asset of another origin": ("POST", REPORT, {**JSON, **FOREIGN}, "{}"),
    "report of an asset with a line end": ("POST", f"{REPORT}%0A", FOREIGN, None),
}


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture(scope="module")
def dagster_app(instance: dg.DagsterInstance) -> Iterator[ASGIApp]:
    """Dagster's webserver over an instance without code locations."""
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        yield create_app_from_workspace_process_context(context)


def client(app: ASGIApp, base_url: str = UI) -> TestClient:
    return TestClient(app, base_url=base_url)


def was_attacked(instance: dg.DagsterInstance) -> bool:
    """Return whether an attack has had its effect, and undo it."""
    assets = [key for key in instance.all_asset_keys() if key.path[0].strip() == "attacked"]
    limited = "attacked" in instance.event_log_storage.get_concurrency_keys()
    instance.wipe_assets(assets)
    instance.event_log_storage.delete_concurrency_limit("attacked")
    return bool(assets or limited)


@pytest.mark.parametrize(("method", "path", "headers", "body"), ATTACKS.values(), ids=ATTACKS)
def test_what_another_site_can_send_has_an_effect_on_dagster_and_none_behind_the_guard(
    dagster_app: ASGIApp,
    instance: dg.DagsterInstance,
    method: str,
    path: str,
    headers: dict[str, str],
    body: str | None,
) -> None:
    client(dagster_app).request(method, path, headers=headers, content=body)
    assert was_attacked(instance)
    answer = client(RequestGuard(dagster_app, [])).request(method, path, headers=headers, content=body)
    assert answer.status_code in (400, 403, 405, 415) and not was_attacked(instance)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused_and_a_preflight_permits_nothing(dagster_app: ASGIApp, method: str) -> None:
    answer = client(RequestGuard(dagster_app, [])).request(method, "/graphql", headers={"origin": UI})
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": UI},
        {"origin": UI, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"referer": f"{UI}/assets"},
    ],
)
def test_the_ui_itself_and_programs_without_a_browser_may_change_things(
    dagster_app: ASGIApp, instance: dg.DagsterInstance, headers: dict[str, str]
) -> None:
    guarded = client(RequestGuard(dagster_app, []))
    assert guarded.post("/graphql", headers={**JSON, **headers}, content=BODY).status_code == 200
    assert was_attacked(instance)
    assert guarded.post(REPORT, headers={**JSON, **headers}, content="{}").status_code == 200
    assert was_attacked(instance)


def test_a_batch_of_operations_is_refused_by_dagster(dagster_app: ASGIApp, instance: dg.DagsterInstance) -> None:
    for app in (dagster_app, RequestGuard(dagster_app, [])):
        batch = TestClient(app, base_url=UI, raise_server_exceptions=False)
        assert batch.post("/graphql", headers=JSON, content=f"[{BODY}]").status_code == 500
    assert not was_attacked(instance)


def test_a_websocket_is_opened_by_the_ui_alone(dagster_app: ASGIApp) -> None:
    foreign: list[dict[str, str]] = [
        FOREIGN,
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example:3000", "origin": "http://evil.example:3000"},
    ]
    for headers in foreign:
        with client(dagster_app).websocket_connect("/graphql", headers=headers) as socket:
            socket.send_json({"type": "connection_init"})
            assert socket.receive_json() == {"type": "connection_ack"}
        guarded = client(RequestGuard(dagster_app, []))
        with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/graphql", headers=headers):
            pytest.fail("accepted")
    own = client(RequestGuard(dagster_app, []))
    with own.websocket_connect("/graphql", headers={"origin": UI, "host": UI[7:]}) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}


@pytest.mark.parametrize("path", ["/logs/run/compute_logs/x/err", "/download_debug/x", "/notebook?path=x.ipynb"])
def test_files_are_read_by_the_ui_alone(dagster_app: ASGIApp, path: str) -> None:
    guarded = TestClient(RequestGuard(dagster_app, []), base_url=UI, raise_server_exceptions=False)
    for headers in ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, {"referer": "http://evil.example"}):
        assert guarded.get(path, headers=headers).status_code == 403
    assert guarded.get(path, headers={"sec-fetch-site": "same-origin"}).status_code != 403


def test_a_link_from_elsewhere_opens_a_page_and_loads_nothing_into_another(dagster_app: ASGIApp) -> None:
    guarded = client(RequestGuard(dagster_app, []))
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert guarded.get("/assets/tokenizer?view=checks", headers=link).status_code == 200
    assert guarded.get("/assets", headers={"referer": "https://wiki.example/"}).status_code == 200
    for destination in ("iframe", "image", "script", "object"):
        assert guarded.get("/assets", headers={**link, "sec-fetch-dest": destination}).status_code == 403


def test_every_answer_forbids_other_sites_to_frame_or_load_it(dagster_app: ASGIApp) -> None:
    guarded = client(RequestGuard(dagster_app, []))
    for path in ("/", "/server_info", "/graphql?query=x"):
        headers = guarded.get(path).headers
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"


def request(host: str, server: Any = ("10.0.0.5", 3000), **headers: str) -> Scope:
    pairs = [(name.encode(), value.encode()) for name, value in {"host": host, **headers}.items()]
    return {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": pairs, "server": server}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:3000",
        "127.0.0.1:3000",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]",
        "10.0.0.5:3000",
        "ui.example:80",
    ],
)
def test_loopback_the_address_of_the_connection_and_configured_names_are_known(host: str) -> None:
    assert refusal(request(host), ["ui.example"]) is None
    assert refusal(request(host, ("::ffff:10.0.0.5", 3000)), ["UI.example"]) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "127.0.0.1, evil.example",
        "127.0.0.1:3000:3000",
        "10.0.0.6",
        "[::2]",
        "localhost\n",
        "ui.example.",
        "xui.example",
    ],
)
def test_any_other_name_is_not(host: str) -> None:
    refused = refusal(request(host), ["ui.example"])
    assert refused is not None and "JGPT_UI_HOSTS" in refused.reason
    refused = refusal(request(host, ("/run/ui.sock", None)), ["ui.example"])
    assert refused is not None and refused.status == 403


@pytest.mark.parametrize("name", ["host", "origin", "content-type", "sec-fetch-site", "referer"])
def test_a_header_given_twice_is_refused(name: str) -> None:
    scope = request("localhost")
    scope["headers"] += [(name.encode(), b"http://localhost"), (name.encode(), b"http://evil.example")]
    refused = refusal(scope, [])
    assert refused is not None and refused.status == 400


def test_an_origin_behind_an_encrypting_proxy_is_the_servers_own() -> None:
    assert refusal(request("ui.example", origin="https://ui.example"), ["ui.example"]) is None
    assert refusal(request("ui.example:443", origin="https://ui.example"), ["ui.example"]) is None
    assert refusal(request("ui.example", origin="https://ui.example:8443"), ["ui.example"]) is not None
