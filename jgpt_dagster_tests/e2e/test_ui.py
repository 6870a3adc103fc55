"""The Dagster UI in a real browser: from an empty deployment to cleaned articles by clicking, and what a finished one
shows.

`make pictures` keeps the pictures that the documentation shows, of the demo.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from jgpt_dagster.lm.training.checkpoint import latest_valid
from jgpt_dagster.lm.training.run_progress import CHECKPOINTS
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.assets.test_checks import forgetful, rewrite_directory
from jgpt_dagster_tests.support.browser import FOREIGN_NAME, browsing, chromium, open_page, processes_of, running_ui
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, SMALL_RUN, Deployment, sample_deployment
from jgpt_dagster_tests.support.local_servers import served_folder

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator, Page

pytest.importorskip("playwright", reason="needs Playwright (pip install playwright) to steer a browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs an installed Chromium (apt-get install chromium)"),
]

# The root of `make demo` with both dumps, whose pages become the pictures of the documentation: see `make pictures`.
PICTURED = os.environ.get("JGPT_PICTURED")


class View(NamedTuple):
    """A page, the metadata of it that is a picture, and more rows of it that the documentation shows.

    Only a run of some length has what `long_run` pages show.
    """

    address: str
    pictures: Sequence[str]
    rows: Sequence[str] = ()
    long_run: bool = False


SHARD = f"?view=partitions&partition={LATER_DUMP}|000"
VIEWS = {
    "articles": View(f"/assets/wikipedia_articles{SHARD}", ["page_outcomes", "what_cleaning_left_out"]),
    "documents": View("/assets/cc100_documents", ["document_outcomes"]),
    "reuse": View(f"/assets/wikipedia_tokens{SHARD}", ["reuse_by_dump", "document_lengths"]),
    "mixture": View("/assets/training_set", ["mixture_by_tokens"]),
    "training": View("/assets/pretrained_model", ["loss_curve", "learning_rate_curve", "gradient_norm_curve"]),
    "live": View("/assets/pretrained_model?view=events", ["loss_so_far"], ["step", "tokens_per_second"], long_run=True),
    "evaluation": View("/assets/evaluation", ["scores_as_bars", "loss_and_bigrams"]),
    "release": View("/assets/release", ["scores_as_bars"], ["parameters", "sample", "load_it"]),
}

# The daemon takes up a backfill every 30 s, and a run takes some 10 s on two cores that have other work.
RUN_MILLISECONDS = 300_000

GRAPHQL = """async query => (await (await fetch("/graphql", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({query}),
})).json()).data"""

# All that a page can do to a server of another origin. Each attack has a name of its own for what it tries to make.
ATTACKING_PAGE = Path(__file__).with_name("attacking_page.html")


@pytest.mark.long
def test_a_dump_is_added_and_its_articles_are_made_by_clicking_alone(deployment: Deployment, tmp_path: Path) -> None:
    with browsing(deployment, tmp_path / "ui.log") as page:
        add_and_make_dump(page)
        backfill_articles(page)
        for shard in ("000", "001"):
            see_articles_of(page, shard, deployment)
        for check in ("pages_add_up", "eligible_pages_have_rows"):
            see_check_passed(page, check)


@pytest.fixture(scope="module")
def browsed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment with both dumps and the record of its runs. Tests mend what they break: they share its UI.

    The last one trains, in two processes.
    """
    if PICTURED:
        return sample_deployment(Path(PICTURED) / "data", Path(PICTURED) / "mirror")
    refreshed: Deployment = request.getfixturevalue("refreshed")
    return refreshed.copy_with_runs(tmp_path_factory.mktemp("browsed") / "data").with_settings(PROCESSES="2")


@pytest.fixture(scope="module")
def ui(browsed: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_ui(browsed, tmp_path_factory.mktemp("ui") / "ui.log") as url:
        yield url


@pytest.fixture
def page(ui: str) -> Iterator["Page"]:
    """A page of the UI of `browsed`."""
    with open_page(ui) as page:
        yield page


@pytest.mark.parametrize("name", [name for name, view in VIEWS.items() if PICTURED or not view.long_run])
def test_a_page_shows_its_pictures_and_they_fit_a_browser_of_1280_pixels(page: "Page", name: str) -> None:
    view = VIEWS[name]
    page.goto(view.address)
    if view.long_run:  # the last event but one: the last one ended the run
        page.get_by_text(f"{LATER_DUMP}|tiny", exact=True).nth(1).click()
    for row in map(partial(metadata, page), view.pictures):
        picture = row.locator("img").last
        picture.wait_for()
        assert picture.evaluate("picture => picture.naturalWidth") > 200
        right = "element => element.getBoundingClientRect().right"
        assert picture.evaluate(right) <= row.locator("xpath=ancestor::table/..").evaluate(right)
    keep_picture(page, name, [metadata(page, shown) for shown in (*view.pictures, *view.rows)])


def test_a_finished_deployment_shows_its_graph_and_its_text(page: "Page") -> None:
    from playwright.sync_api import expect

    page.goto("/assets/wikipedia_articles")
    expect(page.get_by_text("list<string>")).to_be_visible()
    expect(metadata(page, "preview").get_by_role("row")).to_have_count(5)

    page.goto("/assets/evaluation")
    expect(metadata(page, "scores").get_by_role("cell", name="total", exact=True)).to_be_visible()

    page.goto("/asset-groups/")
    page.get_by_role("button", name="Hide navigation").click()
    page.get_by_label("panel_show_right").last.click()
    expect(page.get_by_label("unfold_more")).to_have_count(5)
    page.keyboard.press("Alt+e")  # expand all groups
    expect(page.get_by_label("unfold_less")).to_have_count(5)
    expect(page.get_by_text("release", exact=True)).to_be_visible()
    keep_picture(page, "graph")


def test_a_refresh_shows_what_it_reused_and_what_that_saved(page: "Page", browsed: Deployment) -> None:
    from playwright.sync_api import expect

    segmented = browsed.root.parquet("wikipedia_segmented", LATER_DUMP, "000").run_record()
    assert segmented["reused_rows"] > segmented["made_rows"] > 0
    page.goto(f"/assets/wikipedia_segmented?view=partitions&partition={LATER_DUMP}|000")
    for name in ("reused_rows", "made_rows", "saved_seconds"):
        expect(metadata(page, name).get_by_text(str(segmented[name]), exact=True)).to_be_visible()


def test_the_launchpad_opens_with_the_kept_run_config_and_the_timeline_with_the_runs(page: "Page") -> None:
    from playwright.sync_api import expect

    page.goto("/overview/activity/timeline")
    expect(page.get_by_text("Jobless asset materializations").first).to_be_visible()
    page.goto("/assets/training_set")
    page.locator("[aria-haspopup=dialog] > button", has=page.get_by_label("arrow_drop_down")).first.click()
    page.get_by_text("Open launchpad").first.click()
    shown = page.locator(".CodeMirror").first
    expect(shown).to_contain_text(f"validation_share: {SMALL_RUN['training_set']['validation_share']}")


@pytest.mark.parametrize("host", [FOREIGN_NAME, "127.0.0.1"], ids=["another site", "another port of this host"])
def test_a_page_of_another_origin_changes_and_reads_nothing(page: "Page", ui: str, tmp_path: Path, host: str) -> None:
    (tmp_path / "index.html").write_text(ATTACKING_PAGE.read_text().replace("UI_ADDRESS", ui))
    with served_folder(tmp_path) as site:
        page.goto(site.replace("127.0.0.1", host))
        outcomes = page.evaluate("attackAll()")
        assert len(outcomes) == 13 and not {*outcomes.values()} & {"opened", "read"}, outcomes
        assert not [frame.url for frame in page.frames if frame.url.startswith(ui)]
        assert not changed_by(page, ui)


def test_a_name_that_is_rebound_to_the_ui_is_refused_and_the_ui_under_its_own_is_not(page: "Page", ui: str) -> None:
    answer = page.goto(ui.replace("127.0.0.1", FOREIGN_NAME))
    assert answer is not None and answer.status == 403 and "JGPT_UI_HOSTS" in answer.text()
    mutation = """async () => (await fetch("/graphql", {
        method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({query: 'mutation { setConcurrencyLimit(concurrencyKey: "attack own", limit: 9) }'}),
    })).status"""
    assert page.evaluate(mutation) == 403
    assert not changed_by(page, ui)
    page.goto(ui)
    assert page.evaluate(mutation) == 200
    assert changed_by(page, ui) == ["attack own"]


def test_a_failed_check_says_what_is_wrong(page: "Page", browsed: Deployment, finished: Deployment) -> None:
    from playwright.sync_api import expect

    tokenizer = browsed.root.directory("tokenizer")
    rewrite_directory(tokenizer, forgetful)
    page.goto("/assets/tokenizer?view=checks&checkDetail=text_survives_encoding")
    page.get_by_role("button", name="Execute").last.click()
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible(timeout=RUN_MILLISECONDS)
    page.reload()
    expect(page.get_by_text(re.compile("^0 of [0-9]+ documents come back"))).to_be_visible()
    tokenizer.remove()
    shutil.copytree(finished.root.directory("tokenizer").path, tokenizer.path)


def test_a_flipped_byte_that_jgpt_verify_finds_is_a_warning_with_the_name_of_the_file(
    page: "Page", browsed: Deployment
) -> None:
    from playwright.sync_api import expect

    file = browsed.root.directory("tokenizer").path / "tokenizer.json"
    content = file.read_bytes()
    file.unlink()  # other deployments share it
    file.write_bytes(content[:100] + bytes([content[100] ^ 4]) + content[101:])
    assert "tokenizer.json has sha256" in browsed.try_invoke("verify", "--root", browsed.data).output
    page.goto("/assets/tokenizer?view=checks&checkDetail=is_current")
    page.get_by_role("button", name="Execute").last.click()
    reason = page.get_by_text(re.compile("^tokenizer: damaged: .*tokenizer.json has sha256"))
    for _ in range(RUN_MILLISECONDS // 5000):
        page.wait_for_timeout(5000)
        page.reload()
        page.get_by_text("Latest execution").wait_for()
        if reason.count():
            break
    expect(reason).to_be_visible()
    file.write_bytes(content)
    assert browsed.invoke("verify", "--root", browsed.data).endswith("verified\n")


def test_a_cancelled_training_leaves_a_checkpoint_and_no_process(page: "Page", browsed: Deployment, ui: str) -> None:
    from playwright.sync_api import expect

    model = browsed.root.directory("pretrained_model", LATER_DUMP, model="tiny")
    shutil.rmtree(model.path)
    shutil.rmtree(browsed.data / ".scratch")
    (browsed.data / "run_config.json").unlink()  # with the kept one, training would end before it is cancelled
    page.goto(ui)
    page.goto(f"/runs/{launch(page, 'pretrained_model', f'{LATER_DUMP}|tiny')}")
    expect(page.get_by_text(re.compile("^step [0-9]+/")).first).to_be_visible(timeout=RUN_MILLISECONDS)
    assert len(training_processes(browsed)) == 3, "DeepSpeed's launcher and two processes"
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name="Terminate").click()
    expect(page.get_by_text("Canceled", exact=True).first).to_be_visible(timeout=RUN_MILLISECONDS)
    assert not training_processes(browsed)
    scratch = browsed.data / ".scratch" / "pretrained_model" / f"dump={LATER_DUMP}" / "model=tiny"
    assert latest_valid(scratch / CHECKPOINTS, browsed.data, print) is not None


def launch(page: "Page", asset: str, partition: str) -> str:
    """Launch a run of an asset, as a page of the UI does; return its id."""
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
    (repository,) = page.evaluate(GRAPHQL, query)["repositoriesOrError"]["nodes"]
    launched = """mutation { launchRun(executionParams: {
        selector: { repositoryLocationName: "%s", repositoryName: "%s", pipelineName: "__ASSET_JOB",
                    assetSelection: [{ path: ["%s"] }], assetCheckSelection: [] },
        mode: "default", runConfigData: "{}",
        executionMetadata: { tags: [{ key: "dagster/partition", value: "%s" }] }
    }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
    answer = page.evaluate(GRAPHQL, launched % (repository["location"]["name"], repository["name"], asset, partition))
    assert answer["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    run_id: str = answer["launchRun"]["run"]["runId"]
    return run_id


def add_and_make_dump(page: "Page") -> None:
    from playwright.sync_api import expect

    dialog = open_launch_dialog(page, "wikipedia_dump")
    dialog.get_by_role("button", name="Add a partition").click()
    page.get_by_placeholder("name", exact=True).fill(DUMP)
    page.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("1 partition", exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("link", name="View", exact=True).click()
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=RUN_MILLISECONDS)


def backfill_articles(page: "Page") -> None:
    from playwright.sync_api import expect

    dialog = open_launch_dialog(page, "wikipedia_articles")
    choose_all_partitions(dialog)
    dialog.get_by_role("button", name=re.compile("^Launch ")).click()
    page.get_by_role("link", name="View", exact=True).click()
    expect(page.get_by_text("100% completed")).to_be_visible(timeout=RUN_MILLISECONDS)
    expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible()


def choose_all_partitions(dialog: "Locator") -> None:
    """Choose every key of both dimensions; a click before the dialog has loaded its keys chooses none."""
    from playwright.sync_api import expect

    every_key = dialog.get_by_role("button", name="All", exact=True)
    expect(every_key).to_have_count(2)
    for seconds in (5, 10, 20, 120):
        every_key.first.click()
        every_key.last.click()
        try:
            expect(dialog.get_by_text("2 partitions", exact=True)).to_be_visible(timeout=seconds * 1000)
            return
        except AssertionError:
            if seconds == 120:
                raise


def see_articles_of(page: "Page", shard: str, deployment: Deployment) -> None:
    from playwright.sync_api import expect

    page.goto(f"/assets/wikipedia_articles?view=partitions&partition={DUMP}|{shard}")
    articles = deployment.root.parquet("wikipedia_articles", DUMP, shard)
    for name in ("articles", "redirects", "rejected", "rows", "characters"):
        count = articles.verified().counts[name]
        expect(metadata(page, name).get_by_text(str(count), exact=True)).to_be_visible()
    (title,) = next(iter(read_rows(articles.path, ["title"])))
    expect(metadata(page, "preview")).to_contain_text(title)


def see_check_passed(page: "Page", check: str) -> None:
    """See that a check passed for both shards: Dagster must have recorded its results by partition."""
    from playwright.sync_api import expect

    page.goto(f"/assets/wikipedia_articles?view=checks&checkDetail={check}")
    page.locator("button[role=tab]", has_text="Partitions").click()
    expect(page.get_by_text("Passed (2)")).to_be_visible()


def open_launch_dialog(page: "Page", asset: str) -> "Locator":
    page.goto(f"/assets/{asset}")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog").first
    dialog.get_by_text("Partition selection").wait_for()
    return dialog


def changed_by(page: "Page", ui: str) -> list[str]:
    """Return the concurrency limits and assets that attacks have made, and remove the limits."""
    page.goto(ui)
    query = "{ instance { concurrencyLimits { concurrencyKey } } assetRecordsOrError { ... on AssetRecordConnection "
    query += "{ assets { key { path } } } } }"
    data = page.evaluate(GRAPHQL, query)
    made = [limit["concurrencyKey"] for limit in data["instance"]["concurrencyLimits"]]
    made += [asset["key"]["path"][0] for asset in data["assetRecordsOrError"]["assets"]]
    attacks = [name for name in made if name.startswith("attack")]
    for name in attacks:
        page.evaluate(GRAPHQL, f'mutation {{ deleteConcurrencyLimit(concurrencyKey: "{name}") }}')
    return attacks


def training_processes(deployment: Deployment) -> list[str]:
    """Return the command lines of a deployment's launcher and training processes."""
    commands = (" ".join(process.cmdline()) for process in processes_of(deployment))
    return [command for command in commands if "jgpt_dagster.lm.train" in command]


def width(picture: "Locator") -> int:
    """Return the width of a picture that the browser could draw, in pixels."""
    picture.wait_for()
    pixels: int = picture.evaluate("picture => picture.naturalWidth")
    return pixels


def metadata(page: "Page", name: str) -> "Locator":
    """Return the row of a metadata entry on the page; a table in another entry may have a column of the same name."""
    return page.locator("tr", has=page.locator("td:first-child").get_by_text(name, exact=True)).first


def keep_picture(page: "Page", name: str, rows: Sequence["Locator"] = ()) -> None:
    """Keep a picture of some rows of a page, or of all of it, in the folder that JGPT_SCREENSHOTS names, if it does."""
    folder = os.environ.get("JGPT_SCREENSHOTS")
    if not folder:
        return
    page.wait_for_load_state("networkidle")
    if not rows:
        page.wait_for_timeout(5_000)  # until the graph has moved to its place
        page.screenshot(path=Path(folder) / f"{name}.png")
        return
    rows[0].scroll_into_view_if_needed()
    boxes = [box for box in (row.bounding_box() for row in rows) if box]
    edges = rows[0].locator("xpath=ancestor::table/..").bounding_box()
    assert edges is not None
    top, bottom = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    clip: FloatRect = {"x": edges["x"], "y": top, "width": edges["width"], "height": bottom - top}
    page.screenshot(path=Path(folder) / f"{name}.png", clip=clip)
