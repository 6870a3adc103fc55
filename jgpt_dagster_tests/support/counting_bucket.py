"""An S3-compatible server (moto's) that kills whoever uploads, at a chosen request: `python counting_bucket.py FOLDER`.

It numbers the requests that change the bucket, in FOLDER/requests. FOLDER/plan.json says at which one to kill the
processes of a `file_changes.Plan`, before the request is carried out or after it. Prints its port.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from jgpt_dagster_tests.support.file_changes import Plan, kill_all

BUCKET, PREFIX = "corpus", "jgpt/"
URL = f"s3://{BUCKET}/{PREFIX.rstrip('/')}"

CHANGING = ("PUT", "POST", "DELETE")


@dataclass(frozen=True)
class UploadPlan:
    """At which change of the bucket to kill, numbered from 1 (0: none), and whether only once it is carried out."""

    at: int
    after: bool
    processes: Plan


class CountingBucket:
    """A WSGI application in front of moto's."""

    def __init__(self, app: Callable[..., Iterable[bytes]], folder: Path) -> None:
        self._app, self._folder = app, folder

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        plan = self._folder / "plan.json"
        if environ["REQUEST_METHOD"] not in CHANGING or not plan.exists():
            return self._app(environ, start_response)
        with open(self._folder / "requests", "a") as stream:
            stream.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n")
        number = len((self._folder / "requests").read_text().splitlines())
        values = json.loads(plan.read_text())
        due = number == values["at"]
        if due and not values["after"]:
            kill_all(Plan(**values["processes"]))
            start_response("503 Service Unavailable", [])
            return []
        answer = self._app(environ, start_response)
        if due:
            kill_all(Plan(**values["processes"]))
        return answer


@contextmanager
def counting_bucket(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run a server with an empty bucket and yield the environment in which it is reached."""
    command = [sys.executable, "-m", "jgpt_dagster_tests.support.counting_bucket", str(folder)]
    server = Popen(command, stdout=PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield {
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
    finally:
        server.kill()
        server.wait()


def main(folder: Path) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = CountingBucket(DomainDispatcherApplication(create_backend_app), folder)
    # One request after the other: their numbers have an order.
    server = make_server("127.0.0.1", 0, app, threaded=False)
    print(server.port, flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
