"""A small Hugging Face hub on this machine: what `huggingface_hub` asks of the real one.

Uploads take the way of git LFS; the real hub's other one, Xet, is switched off by
`huggingface_hub.constants.HF_HUB_DISABLE_XET`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = hashlib.sha1(b"the only commit").hexdigest()


class Hub:
    """Serves folders as models `org/name`, each with one commit on its branch `main`.

    Attributes:
        models: id -> folder.
        gated: ids that want a login.
        sent: file name -> bytes sent of it, all models together.
        private: ids of those that were made private.
        token: what an upload must be sent with; without one nothing is taken.
        commits: id -> summaries of its commits.
        uploads: SHA-256 -> what was put into LFS.
        folder: where the models that are made lie.
    """

    def __init__(self, folder: Path | None = None, token: str = "") -> None:
        self.folder, self.token = folder, token
        self.private: set[str] = set()
        self.commits: dict[str, list[str]] = {}
        self.uploads: dict[str, bytes] = {}
        self.models: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.sent: dict[str, int] = {}
        hub = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.answer(hub, body=True)

            def do_HEAD(self) -> None:
                self.answer(hub, body=False)

            def do_POST(self) -> None:
                self.take(hub)

            def do_PUT(self) -> None:
                data = self.data()
                assert self.path == f"/lfs/{hashlib.sha256(data).hexdigest()}"
                hub.uploads[self.path.rpartition("/")[2]] = data
                self.reply(200, {}, b"", body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def answer(self, hub: Hub, *, body: bool) -> None:
        path = self.path.split("?")[0].removeprefix("/api/models").strip("/").split("/")
        name, rest = "/".join(path[:2]), path[2:]
        if name not in hub.models:
            return self.reply(404, {"X-Error-Code": "RepoNotFound"}, b"{}", body)
        if name in hub.gated:
            return self.reply(403, {"X-Error-Code": "GatedRepo"}, b"{}", body)
        folder = hub.models[name]
        known = {"id": name, "sha": COMMIT, "private": name in hub.private}
        if not rest:
            return self.reply(200, {}, json.dumps(known).encode(), body)
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return self.reply(404, {"X-Error-Code": "RevisionNotFound"}, b"{}", body)
        if rest[0] == "revision":
            return self.reply(200, {}, json.dumps(known).encode(), body)
        if rest[0] == "tree":
            files = [
                {
                    "type": "file",
                    "path": str(f.relative_to(folder)),
                    "size": f.stat().st_size,
                    "oid": _hash(f),
                }
                for f in sorted(folder.rglob("*"))
                if f.is_file()
            ]
            return self.reply(200, {}, json.dumps(files).encode(), body)
        file = folder.joinpath(*rest[2:])
        if not file.is_file():
            return self.reply(404, {"X-Error-Code": "EntryNotFound"}, b"", body)
        data, code = file.read_bytes(), 200
        head = {"X-Repo-Commit": COMMIT, "ETag": f'"{_hash(file)}"', "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1 if last else len(data), len(data))
            head["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
            data, code = data[int(first) : end], 206
        if body:
            hub.sent[file.name] = hub.sent.get(file.name, 0) + len(data)
        return self.reply(code, head, data, body)

    def data(self) -> bytes:
        """What was sent, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def take(self, hub: Hub) -> None:
        """An upload's requests, in their order."""
        data, path = self.data(), self.path.split("?")[0]
        if not hub.token or self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.reply(401, {}, b"{}", body=True)
        if path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create(hub, json.loads(data))
        name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**asked, "actions": {"upload": {"href": f"{hub.url}/lfs/{asked['oid']}"}}}
                for asked in json.loads(data)["objects"]
            ]
            return self.say({"transfer": "basic", "objects": objects})
        if path == f"/api/models/{name}/preupload/main":
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(data)["files"]
            ]
            return self.say({"files": files})
        assert path == f"/api/models/{name}/commit/main", path
        return self.commit(hub, name, [json.loads(line) for line in data.splitlines()])

    def create(self, hub: Hub, asked: dict[str, str]) -> None:
        assert hub.folder is not None
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{hub.url}/{name}"}
        if name in hub.models:
            return self.reply(409, {}, json.dumps(url).encode(), body=True)
        hub.models[name] = hub.folder / name
        hub.models[name].mkdir(parents=True)
        if asked["visibility"] == "private":
            hub.private.add(name)
        return self.say(url)

    def commit(self, hub: Hub, name: str, lines: list[dict[str, dict[str, str]]]) -> None:
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind == "header":
                hub.commits.setdefault(name, []).append(value["summary"])
                continue
            file = hub.models[name] / value["path"]
            if kind == "file":
                file.write_bytes(base64.b64decode(value["content"]))
            elif kind == "lfsFile":
                file.write_bytes(hub.uploads[value["oid"]])
            else:
                assert kind == "deletedFile"
                file.unlink()
        url = f"{hub.url}/{name}/commit/{COMMIT}"
        return self.say({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def say(self, found: object) -> None:
        self.reply(200, {}, json.dumps(found).encode(), body=True)

    def reply(self, code: int, head: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(code)
        for key, value in {**head, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _hash(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
