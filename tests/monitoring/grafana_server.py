"""A small HTTP server that answers as Grafana's API does where dashboards are pushed, and keeps what it got.

Statuses and bodies as in Grafana 11's documentation of the folder and dashboard APIs.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

EDITOR, VIEWER = "editor-token", "viewer-token"


@dataclass
class Grafana:
    """Grafana, as far as a push sees it; served below `path`."""

    version: str = "11.6.0"
    path: str = ""
    provisioned: set[str] = field(default_factory=set)
    folders: dict[str, Json] = field(default_factory=dict)
    dashboards: dict[str, Json] = field(default_factory=dict)
    """uid -> its `dashboard`, `folderUid`, and how often it was saved as `saves`."""
    writes: int = 0

    def __enter__(self) -> Grafana:
        grafana = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: Json | None) -> None:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, answer = grafana.answer(self.command, self.path, token, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.path}"

    def answer(self, method: str, path: str, token: str, body: Json | None) -> tuple[int, Any]:
        if not path.startswith(f"{self.path}/api/"):
            return 404, {"message": "Not found"}
        if (method, path) == ("GET", f"{self.path}/api/health"):  # answered before anybody's token is looked at
            return 200, {"database": "ok", "version": self.version, "commit": "0000000"}
        if token not in (EDITOR, VIEWER):
            return 401, {"message": "Invalid API key"}
        if method == "POST" and token != EDITOR:
            return 403, {"message": "You'll need additional permissions to perform this action."}
        self.writes += method == "POST"
        match method, path.removeprefix(f"{self.path}/api/").split("/"):
            case "GET", ["folders", uid]:
                return (200, self.folders[uid]) if uid in self.folders else (404, {"message": "folder not found"})
            case "POST", ["folders"]:
                assert body is not None
                if body["uid"] in self.folders:
                    return 412, {"message": "the folder has been changed by someone else"}
                self.folders[body["uid"]] = {**body, "id": 1, "version": 1}
                return 200, self.folders[body["uid"]]
            case "GET", ["dashboards", "uid", uid]:
                if uid not in self.dashboards:
                    return 404, {"message": "Dashboard not found"}
                there = self.dashboards[uid]
                return 200, {"dashboard": there["dashboard"], "meta": {"folderUid": there["folderUid"]}}
            case "POST", ["dashboards", "db"]:
                assert body is not None
                return self._save(body)
        return 404, {"message": "Not found"}

    def _save(self, body: Json) -> tuple[int, Any]:
        dashboard = body["dashboard"]
        there = self.dashboards.get(dashboard["uid"])
        if dashboard["uid"] in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        if body.get("folderUid") not in self.folders:
            return 400, {"message": "folder not found"}
        if there is not None and not body.get("overwrite"):
            return 412, {"status": "name-exists", "message": "A dashboard with the same uid already exists"}
        saves = there["saves"] + 1 if there else 1
        kept = {**dashboard, "id": 7 + len(self.dashboards), "version": saves}
        self.dashboards[dashboard["uid"]] = {"dashboard": kept, "folderUid": body["folderUid"], "saves": saves}
        return 200, {"uid": dashboard["uid"], "version": saves, "status": "success", "url": f"/d/{dashboard['uid']}"}
