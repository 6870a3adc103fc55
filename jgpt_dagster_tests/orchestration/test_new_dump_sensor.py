"""`new_dump_sensor` fetches the newest finished dump once, and survives whatever a mirror answers."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jgpt_dagster.corpus import schemas
from jgpt_dagster.orchestration import mirror_look
from jgpt_dagster.orchestration.mirror_look import IS_NEWEST
from jgpt_dagster.orchestration.partitions import add_dumps
from jgpt_dagster.orchestration.sensors import run_requests
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.support.deployments import Deployment
from jgpt_dagster_tests.support.flaky_server import Handler, Server, serving
from jgpt_dagster_tests.support.sensor_ticks import Desk, assets


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def mirror_desk(tmp_path: Path, server: Server, instance: dg.DagsterInstance, **settings: str) -> Desk:
    own = {"WIKI": "miniwiki", "DUMPS_URL": server.url(""), "CC100_URL": "", "SHARDS": "2", "MODEL": "tiny"}
    return Desk(Deployment(tmp_path / "data", {**own, **settings}), instance)


def publish(server: Server, statuses: dict[str, str], size: int = 1000) -> None:
    """Put dumps on a mirror, in states of their job."""
    server.files.clear()
    server.files["/miniwiki/"] = "".join(f'<a href="{date}/">{date}/</a>' for date in statuses).encode()
    for date, status in statuses.items():
        name = f"miniwiki-{date}-pages-articles-multistream.xml.bz2"
        job = {"status": status, "updated": "", "files": {name: {"size": size, "sha1": "0" * 40}}}
        document = {"jobs": {"articlesmultistreamdump": job}}
        server.files[f"/miniwiki/{date}/dumpstatus.json"] = json.dumps(document).encode()


def fetch(desk: Desk, *dates: str) -> None:
    """Let dumps be known, with a manifest on disk."""
    add_dumps(desk.instance, dates)
    for date in dates:
        output = desk.deployment.root.directory("wikipedia_dump", date)
        with output.writing(Recipe("wikipedia_dump", "1", {})):
            pass


def added(result: Any) -> list[str]:
    return [key for request in result.dynamic_partitions_requests or () for key in request.partition_keys]


@pytest.mark.parametrize(
    ("statuses", "known", "cursor", "expected"),
    [
        ({"20260101": "done", "20260120": "done"}, [], None, "20260120"),
        ({"20260101": "done", "20260120": "waiting"}, [], None, "20260101"),
        ({"20260101": "done", "20260120": "done", "20260201": "done"}, ["20260101"], None, "20260201"),
        ({"20260101": "done", "20260120": "done", "20260201": "in-progress"}, ["20260101"], None, "20260120"),
        ({"20260201": "done"}, ["20250101", "20260101"], "20260101", "20260201"),
    ],
    ids=["first contact", "first contact, newest unfinished", "of two new ones", "one unfinished", "old ones dropped"],
)
def test_the_newest_finished_dump_is_added_and_fetched(
    tmp_path: Path,
    server: Server,
    instance: dg.DagsterInstance,
    statuses: dict[str, str],
    known: list[str],
    cursor: str | None,
    expected: str,
) -> None:
    publish(server, statuses)
    desk = mirror_desk(tmp_path, server, instance)
    fetch(desk, *known)
    result = desk.tick("new_dump_sensor", cursor)
    (request,) = result.run_requests
    assert (assets(request), request.partition_key) == (["wikipedia_dump"], expected)
    assert added(result) == [expected]
    assert result.cursor.split()[-1] == expected


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ({"20260101": "done"}, "lists no dump newer than 20260101"),
        ({"20260101": "done", "20260120": "waiting"}, "dump of 20260120 is not ready"),
        ({"20260101": "done", "20260120": "failed"}, "is 'failed'"),
        ({"20251201": "done"}, "lists no dump newer than 20260101"),
    ],
)
def test_nothing_is_fetched_without_a_newer_finished_dump(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance, statuses: dict[str, str], words: str
) -> None:
    publish(server, statuses)
    desk = mirror_desk(tmp_path, server, instance)
    fetch(desk, "20260101")
    assert words in desk.reason("new_dump_sensor")


@pytest.mark.parametrize(
    ("statuses", "passed", "words"),
    [
        ({"20260101": "done"}, True, "the mirror has finished no newer one"),
        ({"20260101": "done", "20260120": "waiting"}, True, "the mirror has finished no newer one"),
        ({"20260101": "done", "20260120": "done"}, False, "has finished that of 20260120, 19 days newer"),
        ({"20251201": "done"}, True, "The newest dump here is of 20260101"),
        ({}, False, "mirror not reached"),
    ],
)
def test_every_look_at_the_mirror_says_whether_its_newest_dump_is_here(
    tmp_path: Path,
    server: Server,
    instance: dg.DagsterInstance,
    statuses: dict[str, str],
    passed: bool,
    words: str,
) -> None:
    publish(server, statuses)
    desk = mirror_desk(tmp_path, server, instance)
    fetch(desk, "20260101")
    (found,) = desk.tick("new_dump_sensor", "20260101").asset_events
    assert (found.check_name, found.passed, found.severity) == (IS_NEWEST, passed, dg.AssetCheckSeverity.WARN)
    assert words in found.description


def test_a_partition_of_a_mistyped_date_keeps_no_dump_away(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    publish(server, {"20260101": "done"})
    add_dumps(instance, ["20260810"])
    assert added(mirror_desk(tmp_path, server, instance).tick("new_dump_sensor")) == ["20260101"]


def test_a_removed_dump_does_not_come_back(tmp_path: Path, server: Server, instance: dg.DagsterInstance) -> None:
    publish(server, {"20260101": "done", "20260120": "done"})
    add_dumps(instance, ["20260101"])
    assert "no dump newer than 20260120" in mirror_desk(tmp_path, server, instance).reason(
        "new_dump_sensor", "20260120"
    )


def test_a_dump_is_never_requested_twice(tmp_path: Path, server: Server, instance: dg.DagsterInstance) -> None:
    publish(server, {"20260101": "done"})
    desk = mirror_desk(tmp_path, server, instance)
    (request,) = desk.tick("new_dump_sensor").run_requests
    add_dumps(instance, ["20260101"])
    desk.record(request, dg.DagsterRunStatus.NOT_STARTED)
    assert "is not started" in desk.reason("new_dump_sensor", "20260101")


def test_a_failed_fetch_is_retried_twice_with_growing_pauses(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, {"20260101": "done"})
    desk = mirror_desk(tmp_path, server, instance)
    (request,) = desk.tick("new_dump_sensor").run_requests
    add_dumps(instance, ["20260101"])
    run_keys = [request.run_key]
    for pause in (300, 600):
        desk.record(request, dg.DagsterRunStatus.FAILURE)
        told = re.search(r"retry in (\d+) s", desk.reason("new_dump_sensor", "20260101"))
        assert told and pause - 60 < int(told[1]) <= pause
        with monkeypatch.context() as later:
            later.setattr(run_requests, "_FIRST_RETRY_SECONDS", 0)
            (request,) = desk.tick("new_dump_sensor", "20260101").run_requests
        run_keys.append(request.run_key)
    assert len(set(run_keys)) == 3
    desk.record(request, dg.DagsterRunStatus.FAILURE)
    assert "3 runs did not produce it" in desk.reason("new_dump_sensor", "20260101")


def test_a_newer_dump_is_fetched_although_the_one_before_failed(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    publish(server, {"20260101": "done"})
    desk = mirror_desk(tmp_path, server, instance)
    (request,) = desk.tick("new_dump_sensor").run_requests
    add_dumps(instance, ["20260101"])
    desk.record(request, dg.DagsterRunStatus.FAILURE)
    publish(server, {"20260101": "done", "20260120": "done"})
    (request,) = desk.tick("new_dump_sensor", "20260101").run_requests
    assert request.partition_key == "20260120"


def test_after_three_failed_fetches_the_dump_before_is_fetched(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_requests, "_FIRST_RETRY_SECONDS", 0)
    publish(server, {"20260101": "done", "20260120": "done"})
    desk = mirror_desk(tmp_path, server, instance)
    cursor = None
    for _ in range(3):
        result = desk.tick("new_dump_sensor", cursor)
        (request,), cursor = result.run_requests, result.cursor
        assert request.partition_key == "20260120"
        add_dumps(instance, ["20260120"])
        desk.record(request, dg.DagsterRunStatus.FAILURE)
    (request,) = desk.tick("new_dump_sensor", cursor).run_requests
    assert request.partition_key == "20260101"
    fetch(desk, "20260101")
    assert "3 runs did not produce it" in desk.reason("new_dump_sensor", "20260101 20260120")


def test_if_the_text_of_the_newest_dump_fails_a_check_the_dump_before_is_fetched(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    publish(server, {"20260101": "done", "20260120": "done"})
    desk = mirror_desk(tmp_path, server, instance)
    fetch(desk, "20260120")
    assert "no dump newer than 20260120" in desk.reason("new_dump_sensor", "20260120")
    articles = desk.deployment.root.parquet("wikipedia_articles", "20260120", "000")
    articles.write(schemas.ARTICLES, iter([]), Recipe("wikipedia_articles", "1"), dict)
    record_verdict(articles, "pages_add_up", False, "1 of 2 pages")
    assert desk.asked("new_dump_sensor") == [(["wikipedia_dump"], "20260101")]
    assert "wikipedia_articles 20260120|000: check pages_add_up failed: 1 of 2 pages. Nothing is built on it" in (
        desk.reason("refresh_sensor")
    )


def test_a_fetch_that_a_person_terminated_is_not_started_again(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    publish(server, {"20260101": "done"})
    desk = mirror_desk(tmp_path, server, instance)
    (request,) = desk.tick("new_dump_sensor").run_requests
    add_dumps(instance, ["20260101"])
    run_id = desk.record(request, dg.DagsterRunStatus.CANCELED)
    assert f"run {run_id} was terminated" in desk.reason("new_dump_sensor", "20260101")


def test_a_dump_that_does_not_fit_the_disk_is_not_fetched(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    publish(server, {"20260101": "done"}, size=10**18)
    reason = mirror_desk(tmp_path, server, instance).reason("new_dump_sensor")
    assert "needs 5,000,000,000,000,000,000 bytes" in reason
    assert "are free" in reason


def test_a_mirror_that_is_down_skips_the_tick(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with serving() as server:
        desk = mirror_desk(tmp_path, server, instance)
    assert "cannot be reached now" in desk.reason("new_dump_sensor", "20260101")
    (found,) = desk.tick("new_dump_sensor", "20260101").asset_events
    assert not found.passed and found.description.startswith("mirror not reached")
    assert "cannot be reached now" in found.metadata["reason"].value


def test_an_overloaded_mirror_skips_the_tick(tmp_path: Path, server: Server, instance: dg.DagsterInstance) -> None:
    server.faults.append(lambda handler, _: handler.answer(503, b""))
    assert "503" in mirror_desk(tmp_path, server, instance).reason("new_dump_sensor", "20260101")


def test_a_mirror_that_never_answers_skips_the_tick(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_look, "_MIRROR_SECONDS", 0.3)
    release = threading.Event()

    def never_answer(handler: Handler, body: bytes) -> None:
        release.wait(10)

    server.faults.append(never_answer)
    try:
        reason = mirror_desk(tmp_path, server, instance).reason("new_dump_sensor", "20260101")
    finally:
        release.set()
    assert "has not answered within" in reason


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/miniwiki/", b"<html>It works!</html>", "lists no dump"),
        ("/miniwiki/", b"\xff\xfe\x00", "not UTF-8"),
        ("/miniwiki/20260101/dumpstatus.json", b"<html>", "is not JSON"),
        ("/miniwiki/20260101/dumpstatus.json", b"[1, 2]", "is not the dumpstatus.json"),
        ("/miniwiki/20260101/dumpstatus.json", b'{"jobs": {}}', "is not the dumpstatus.json"),
        (
            "/miniwiki/20260101/dumpstatus.json",
            b'{"jobs": {"articlesmultistreamdump": {"status": "done", "files": {}}}}',
            "has no miniwiki-20260101",
        ),
    ],
)
def test_a_malformed_answer_of_the_mirror_skips_the_tick(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance, path: str, body: bytes, words: str
) -> None:
    publish(server, {"20260101": "done"})
    server.files[path] = body
    assert words in mirror_desk(tmp_path, server, instance).reason("new_dump_sensor")


def test_a_dump_with_a_malformed_status_does_not_hide_a_finished_one(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    publish(server, {"20260101": "done", "20260120": "done"})
    server.files["/miniwiki/20260120/dumpstatus.json"] = b"{"
    assert mirror_desk(tmp_path, server, instance).asked("new_dump_sensor") == [(["wikipedia_dump"], "20260101")]


def test_a_file_mirror_that_is_not_mounted_skips_the_tick(
    tmp_path: Path, server: Server, instance: dg.DagsterInstance
) -> None:
    desk = mirror_desk(tmp_path, server, instance, DUMPS_URL=(tmp_path / "absent").as_uri())
    assert "there is no directory" in desk.reason("new_dump_sensor")
