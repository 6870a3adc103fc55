"""A model hub on loopback: as much of the protocol as uploads and downloads need, with the refusals of a real one."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_" + "a1B2" * 9
LICENCES = ("other", "cc-by-4.0", "cc-by-sa-4.0", "mit")
# A hub takes larger files apart from the commit.
_LARGE_BYTES = 1 << 20


@dataclass
class Repository:
    """The newest files by name; `revisions` name the sha of a commit each."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0
    revisions: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})


@dataclass
class ModelHub:
    """`repositories` by name, large files by sha256 in `objects`; `refuse` maps parts of paths to (status, message)."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def model_hub() -> Iterator[ModelHub]:
    """Run a hub until the block ends."""
    hub = ModelHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Refused(Exception):
    def __init__(self, status: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": message, **fields}


class _Handler(BaseHTTPRequestHandler):
    hub: ModelHub

    def do_GET(self) -> None:
        self._answer(b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        try:
            for part, (status, message) in self.hub.refuse.items():
                if part in path:
                    raise _Refused(status, message)
            if "/resolve/" in path:
                self._serve(path)
                return
            if self._needs_token(path) and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise _Refused(401, "Invalid username or password.")
            status, value = 200, self._handle(path, body)
        except _Refused as refused:
            status, value = refused.status, refused.body
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if "error" in value:
            self.send_header("X-Error-Message", value["error"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _needs_token(self, path: str) -> bool:
        """Whether only a known user may ask: for everything but the files of large objects and public models."""
        if self.command != "GET":
            return not path.startswith("/objects/")
        repository = self.hub.repositories.get("/".join(path.removeprefix("/api/models/").split("/")[:2]))
        return repository is None or repository.private

    def _serve(self, path: str) -> None:
        """Answer with a file of a revision: /OWNER/NAME/resolve/REVISION/FILE."""
        owner, name, _, revision, file = path.strip("/").split("/", 4)
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if repository is None or repository.private:
            raise _Refused(401, "Invalid username or password.")
        content = repository.files.get(file)
        if content is None:
            raise _Refused(404, "Entry not found")
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", repository.revisions.get(revision, revision))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _handle(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path.startswith("/objects/"):
            sha256 = path.rsplit("/", 1)[1]
            if hashlib.sha256(body).hexdigest() != sha256:
                raise _Refused(422, "not what was announced")
            self.hub.objects[sha256] = body
            return {}
        name = "/".join(path.removeprefix("/api/models").lstrip("/").split("/")[:2]).removesuffix(".git")
        repository = self.hub.repositories.get(name)
        if repository is None:
            raise _Refused(404, "Repository not found")
        if path.endswith("/info/lfs/objects/batch"):
            return {"objects": [self._large(entry) for entry in json.loads(body)["objects"]], "transfer": "basic"}
        if "/preupload/" in path:
            return {"files": [self._small(entry) for entry in json.loads(body)["files"]]}
        if "/commit/" in path:
            return self._commit(name, repository, [json.loads(line) for line in body.splitlines()])
        if "/tree/" in path:
            return [
                {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for file, content in repository.files.items()
            ]
        revision = path.partition("/revision/")[2] or "main"
        if revision not in {*repository.revisions, *repository.revisions.values()}:
            raise _Refused(404, "Revision Not Found")
        return {
            "_id": name,
            "id": name,
            "private": repository.private,
            "sha": repository.revisions.get(revision, revision),
            "siblings": [{"rfilename": file} for file in repository.files],
        }

    def _create(self, wanted: dict[str, Any]) -> Any:
        name = f"{wanted['organization'] or 'someone'}/{wanted['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            raise _Refused(409, "You already created this model repo", url=url)
        private = wanted.get("visibility") == "private" or wanted.get("private", False)
        self.hub.repositories[name] = Repository(private)
        return {"url": url, "name": name}

    def _validate(self, card: str) -> Any:
        header = yaml.safe_load(card.split("---\n")[1])
        licence = header.get("license")
        errors = [] if licence in LICENCES else [{"message": f"license {licence} is not known"}]
        if licence == "other" and not header.get("license_name"):
            errors.append({"message": "license_name is missing"})
        for model in header.get("model-index", []):
            if not model.get("name") or not all(result["metrics"] for result in model["results"]):
                errors.append({"message": "model-index is malformed"})
        if errors:
            raise _Refused(400, "Invalid metadata", errors=errors)
        return {"errors": [], "warnings": []}

    def _small(self, entry: dict[str, Any]) -> Any:
        mode = "lfs" if entry["size"] > _LARGE_BYTES else "regular"
        return {"path": entry["path"], "uploadMode": mode, "shouldIgnore": False}

    def _large(self, entry: dict[str, Any]) -> Any:
        upload = {"href": f"{self.hub.url}/objects/{entry['oid']}", "header": {}}
        return {**entry, "actions": {"upload": upload}}

    def _commit(self, name: str, repository: Repository, lines: list[dict[str, Any]]) -> Any:
        files = dict(repository.files)
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repository.files = files
        repository.commits += 1
        oid = f"{repository.commits:040x}"
        return {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid}
