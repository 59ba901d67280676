"""A Hugging Face hub of models on 127.0.0.1: the calls with which `huggingface_hub` reads and writes repositories.

Written after what huggingface_hub 0.24 and 2.4 send. Weights are "large files": uploaded by Git LFS's basic transfer,
and downloaded by a redirect, as from the real hub. `HubServer.requests` keeps every request.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Repository:
    """A repository: its commits as files with their content, and the commit of each branch."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        """Put a commit on a branch."""
        oid = hashlib.sha1(f"{len(self.commits)} {branch}".encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def find(self, revision: str) -> str | None:
        """The commit of a branch or a commit."""
        return revision if revision in self.commits else self.branches.get(revision)


class HubServer:
    """The hub: repositories by name, and the owner of each token."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.tokens = {"hf_writer": "owner"}
        self.requests: list[tuple[str, str]] = []
        self.large_files: dict[str, bytes] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True

    @property
    def address(self) -> str:
        """The address to use as HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repository, which a test may alter."""
        repository = self.repositories[name]
        commit = repository.find(revision)
        assert commit is not None
        return repository.commits[commit]


@contextmanager
def hub_server(monkeypatch: pytest.MonkeyPatch, cache: str) -> Iterator[HubServer]:
    """Run a hub, and let `huggingface_hub` use it in place of the real one, with a cache of its own and no token."""
    from huggingface_hub import constants

    hub = HubServer()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    # These are made of the environment when huggingface_hub is imported, and some modules have copies of them.
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    values = {"ENDPOINT": hub.address, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_CACHE": cache}
    values |= {"HF_TOKEN_PATH": f"{cache}/token", "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}
    from huggingface_hub import _snapshot_download, file_download, hf_api, lfs

    for module in (constants, _snapshot_download, file_download, hf_api, lfs):
        for name, value in values.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        body = self._body()
        parts = path.strip("/").split("/")
        if parts[0] == "large":
            self._large_file(parts[1], body)
        elif parts[:2] == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif parts[:3] == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[4:], body)
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif parts[-1] == "batch":
            self._lfs_batch(json.loads(body))
        else:
            self._error(404, "EntryNotFound")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    @property
    def _user(self) -> str | None:
        return self.hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or self._user}/{asked['name']}"
        if self._user is None:
            self._error(401, None)
        elif name in self.hub.repositories:
            self._json({"url": f"{self.hub.address}/{name}"}, 409)
        else:
            private = bool(asked.get("private")) or asked.get("visibility") == "private"
            repository = self.hub.repositories[name] = Repository(private)
            repository.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
            self._json({"url": f"{self.hub.address}/{name}"})

    def _find(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """The repository and commit, if the user may read it; else the answer is an error."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self._user != name.partition("/")[0]):
            self._error(404 if self._user else 401, "RepoNotFound")
            return None
        commit = repository.find(revision)
        if commit is None:
            self._error(404, "RevisionNotFound")
            return None
        return repository, commit

    def _model(self, name: str, rest: list[str], body: bytes) -> None:
        kind = rest[0] if rest else "revision"
        revision = "/".join(rest[1:]) or "main"
        found = self._find(name, "main" if kind == "branch" else revision)
        if found is None:
            return
        repository, commit = found
        files = repository.commits[commit]
        if kind == "revision":
            siblings = [{"rfilename": path} for path in files]
            self._json(
                {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}
            )
        elif kind == "tree":
            self._json([self._entry(path, content) for path, content in files.items()])
        elif self._user != name.partition("/")[0]:
            self._error(403, None)
        elif kind == "branch":
            taken = revision in repository.branches
            repository.branches.setdefault(revision, commit)
            self._json({}, 409 if taken else 200)
        elif kind == "preupload":
            self._json({"files": [self._upload_mode(file["path"], files) for file in json.loads(body)["files"]]})
        else:
            self._commit(repository, revision, dict(files), body)

    @staticmethod
    def _entry(path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _blob_id(content)}
        if path.endswith(".safetensors"):
            oid = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
        return entry

    @staticmethod
    def _upload_mode(path: str, files: dict[str, bytes]) -> dict[str, Any]:
        is_large = path.endswith(".safetensors")
        answer: dict[str, Any] = {"path": path, "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}
        if path in files:
            content = files[path]
            answer["oid"] = hashlib.sha256(content).hexdigest() if is_large else _blob_id(content)
        return answer

    def _commit(self, repository: Repository, branch: str, files: dict[str, bytes], body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        assert lines[0]["key"] == "header"
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert line["key"] == "lfsFile"
                files[value["path"]] = self.hub.large_files[value["oid"]]
        oid = repository.commit(branch, files, lines[0]["value"]["summary"])
        self._json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.address}/owner/x/commit/{oid}"})

    def _lfs_batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**entry, "actions": {"upload": {"href": f"{self.hub.address}/large/{entry['oid']}"}}}
            for entry in asked["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _large_file(self, oid: str, body: bytes) -> None:
        if self.command == "PUT":
            assert hashlib.sha256(body).hexdigest() == oid
            self.hub.large_files[oid] = body
            self._send(200, b"")
        else:
            self._send(200, self.hub.large_files[oid])

    def _resolve(self, name: str, revision: str, path: str) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        repository, commit = found
        if path not in repository.commits[commit]:
            self._error(404, "EntryNotFound")
            return
        content = repository.commits[commit][path]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not path.endswith(".safetensors"):
            self._send(200, content, headers | {"ETag": f'"{_blob_id(content)}"'})
            return
        oid = hashlib.sha256(content).hexdigest()
        place = f"{commit}-{path.replace('/', '-')}"
        self.hub.large_files[place] = content
        headers |= {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        # The real hub's files are on another host; a redirect to the same one is taken for a renamed repository.
        self._send(302, b"", headers | {"Location": f"http://localhost:{self.server.server_port}/large/{place}"})

    def _error(self, status: int, code: str | None) -> None:
        self._send(status, b'{"error": "refused"}', {} if code is None else {"X-Error-Code": code})

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _blob_id(content: bytes) -> str:
    """The id that Git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
