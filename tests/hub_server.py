"""A small Hugging Face hub on this machine: what `huggingface_hub` asks of the real one."""

from __future__ import annotations

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
    """

    def __init__(self) -> None:
        self.models: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.sent: dict[str, int] = {}
        hub = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.answer(hub, body=True)

            def do_HEAD(self) -> None:
                self.answer(hub, body=False)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
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
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return self.reply(404, {"X-Error-Code": "RevisionNotFound"}, b"{}", body)
        if rest[0] == "revision":
            return self.reply(200, {}, json.dumps({"id": name, "sha": COMMIT}).encode(), body)
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

    def reply(self, code: int, head: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(code)
        for key, value in {**head, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _hash(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
