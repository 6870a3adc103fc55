"""A deployment's UI under a real browser: `jgpt ui` as a process of its own, Chromium on a page of it."""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from jgpt_dagster_tests.support.deployments import BIN, Deployment
from jgpt_dagster_tests.support.local_servers import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

START_SECONDS = 240
STOP_SECONDS = 120
PAGE_SECONDS = 120

# A name that resolves to loopback in the browser alone: the site of an attacker.
FOREIGN_NAME = "evil.example"

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
_VIEWPORT: "ViewportSize" = {"width": 1280, "height": 1400}
_CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {FOREIGN_NAME} 127.0.0.1",
]


def chromium() -> str | None:
    """Return the path of an installed Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)


@contextmanager
def browsing(deployment: Deployment, log: Path) -> Iterator["Page"]:
    """Run `jgpt ui` over a deployment and yield a page of it in Chromium; addresses are relative to the UI's.

    `log` receives what the UI prints. Raises RuntimeError where it does not answer within START_SECONDS, and where a
    process of the deployment outlives it.
    """
    with running_ui(deployment, log) as url, open_page(url) as page:
        yield page


@contextmanager
def running_ui(deployment: Deployment, log: Path) -> Iterator[str]:
    """Run `jgpt ui` over a deployment and yield its URL; raises as `browsing` does."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / "jgpt", "ui", "--port", str(port)],
            env=deployment.env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A background job of a shell inherits SIGINT ignored, and Dagster would then ignore SIGTERM as well.
            preexec_fn=_restore_interrupt,
        )
    try:
        _wait_until_it_answers(process, url, log)
        yield url
    finally:
        _stop(process)
    _, alive = psutil.wait_procs(processes_of(deployment), timeout=STOP_SECONDS)
    if alive:
        raise RuntimeError(f"processes of the UI are still there: {[process.cmdline() for process in alive]}")


@contextmanager
def open_page(url: str) -> Iterator["Page"]:
    """Yield a page of the UI at a URL in a Chromium of its own; addresses are relative to that URL."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PAGE_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=_CHROMIUM_ARGUMENTS)
        try:
            page = browser.new_page(base_url=url, viewport=_VIEWPORT, locale="en-GB", timezone_id="UTC")
            page.set_default_timeout(PAGE_SECONDS * 1000)
            # The UI greets a first visit with a dialog over everything else.
            page.add_init_script("""localStorage.setItem('communityNux', '"1"')""")
            yield page
        finally:
            browser.close()


def processes_of(deployment: Deployment) -> list[psutil.Process]:
    """Return the running processes that were started for a deployment: they have its data root in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("JGPT_DATA") == str(deployment.data)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _restore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer. The log {log} ends:\n{log.read_text()[-4000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt the server as a terminal would: its whole group; kill what is still there after STOP_SECONDS."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
