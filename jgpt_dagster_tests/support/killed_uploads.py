"""The stages of a deployment whose data root is in an object store, each killed at every change of the bucket."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3
import s3fs  # noqa: F401  # imported once, before there are forks

from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster_tests.support.counting_bucket import BUCKET, PREFIX, UploadPlan
from jgpt_dagster_tests.support.deployments import Deployment
from jgpt_dagster_tests.support.file_changes import count, watch
from jgpt_dagster_tests.support.killed_stages import RUN_RECORD, Bench, Moment, StageRun, copy_root, is_data

_NO_CHANGE = 1 << 40


class UploadBench(Bench):
    """A bench whose moments are changes of the bucket: `limit` is 1 for a kill that follows the change, else None.

    The server works in the same folder.
    """

    def __init__(self, folder: Path, deployment: Deployment, config: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(folder, deployment, config)
        self._fork(lambda: boto3.client("s3").create_bucket(Bucket=BUCKET) and None)

    def observe(self, stage: StageRun) -> list[Moment]:
        copy_root(self.deployment.data, self.before)
        self._fork(lambda: self._save(self.folder / "objects before"))
        self._require_done(self._killed(stage, 0, after=False))
        copy_root(self.deployment.data, self.after)
        self._fork(lambda: self._save(self.folder / "objects after"))
        lines = (self.folder / "requests").read_text().splitlines()
        return [Moment(number, after, line) for number, line in enumerate(lines, 1) for after in (None, 1)]

    def kill(self, stage: StageRun, moment: Moment) -> list[str]:
        """Kill a stage at a moment, and run it again on the same machine or, at every other change, on a new one."""
        copy_root(self.before, self.deployment.data)
        status = self._killed(stage, moment.change, after=moment.limit is not None)
        faults = [] if os.WIFSIGNALED(status) else [f"was not killed: {status}: {self._output()}"]
        if moment.change % 2:
            shutil.rmtree(self.deployment.data)
            self.deployment.data.mkdir(mode=0o700)
        return faults + self._again(stage)

    def keep(self) -> None:
        copy_root(self.after, self.deployment.data)
        self._fork(lambda: self._load(self.folder / "objects after"))

    def _killed(self, stage: StageRun, at: int, *, after: bool) -> int:
        plan = self._plan(_NO_CHANGE, None)
        upload = UploadPlan(at, after, plan)

        def execute() -> None:
            self._load(self.folder / "objects before")
            (self.folder / "requests").write_text("")
            (self.folder / "plan.json").write_text(json.dumps(asdict(upload)))
            count(plan)
            self._execute(stage)

        try:
            return watch(plan, self._start(execute))
        finally:
            (self.folder / "plan.json").unlink()

    def _faults_when_killed(self) -> Iterator[str]:
        """Yield what is published of the stage and is not whole, as a machine sees it that has nothing of its own."""
        elsewhere = self.folder / "elsewhere"
        shutil.rmtree(elsewhere, ignore_errors=True)
        root = DataRoot.open(os.environ["JGPT_DATA"], elsewhere)
        before = _content(self.folder / "objects before")
        objects = self._objects()
        changed = {name.partition("/")[0] for name, content in objects.items() if before.get(name) != content}
        for name in objects:
            artifact = _published(root, name) if "/" in name and name.partition("/")[0] in changed else None
            if artifact is None:
                continue
            manifest = artifact.manifest()
            problem = "it has no manifest" if manifest is None else artifact.find_mismatch(manifest)
            if problem:
                yield f"when killed: {artifact.label} is published: {problem}"

    def _faults_in_the_end(self) -> Iterator[str]:
        expected = _content(self.folder / "objects after")
        found = self._objects()
        missing = sorted(expected.keys() - found.keys())
        yield from (f"is missing: {name}" for name in missing if not name.endswith(RUN_RECORD))
        yield from (f"is left: {name}" for name in sorted(found.keys() - expected.keys()))
        for name in sorted(expected.keys() & found.keys()):
            if is_data(name) and found[name] != expected[name]:
                yield f"has other bytes: {name}"

    def _objects(self) -> dict[str, bytes]:
        client = boto3.client("s3")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key.removeprefix(PREFIX): client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    def _save(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in self._objects().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def _load(self, folder: Path) -> None:
        """Give the bucket the objects that were saved in a folder."""
        client = boto3.client("s3")
        found, wanted = self._objects(), _content(folder)
        for name in found.keys() - wanted.keys():
            client.delete_object(Bucket=BUCKET, Key=PREFIX + name)
        for name, content in wanted.items():
            if found.get(name) != content:
                client.put_object(Bucket=BUCKET, Key=PREFIX + name, Body=content)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _published(root: DataRoot, name: str) -> Artifact | None:
    """Return the output that an object makes complete, if it is one that does."""
    asset, *folders, last = name.split("/")
    keys = dict(part.partition("=")[::2] for part in (*folders, last.removesuffix(".parquet")))
    if last == "manifest.json":
        return root.directory(asset, keys.get("dump"), keys.get("shard"), keys.get("model"))
    if last.startswith("shard=") and last.endswith(".parquet"):
        return root.parquet(asset, keys.get("dump"), keys["shard"])
    return None
