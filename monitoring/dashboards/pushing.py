"""The dashboards into a running Grafana, over its HTTP API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException
from requests.exceptions import RequestException

from monitoring.dashboards.writing import DASHBOARDS, FOLDER, dashboard_json

OLDEST = 10
"""Major version of Grafana: earlier ones do not know every part of these dashboards."""

TIMEOUT_SECONDS = 15.0

_SET_BY_GRAFANA = ("id", "version")

Action = Literal["created", "updated", "unchanged"]


class PushFailed(RuntimeError):
    """Grafana did not take the dashboards; says why, and what to do."""


@dataclass(frozen=True)
class Pushed:
    """What became of one dashboard."""

    name: str
    action: Action
    path: str
    """Of its page in Grafana."""


def push(url: str, token: str, *, is_dry: bool = False) -> list[Pushed]:
    """Create or overwrite every dashboard, by its uid, in the folder `evenvoice`; what is there already stays as it is.

    Args:
        url: of Grafana, with the path below which it is served, if any.
        token: of a service account with the role Editor.
        is_dry: only say what would become of each.

    Raises:
        PushFailed: no connection, a token that may not, a Grafana that is too old, or that refuses.
    """
    grafana = _connected(url, token)
    if not is_dry:
        _make_folder(grafana, url)
    return [_push_one(grafana, url, name, is_dry=is_dry) for name in DASHBOARDS]


def _connected(url: str, token: str) -> GrafanaApi:
    if not _is_address(url):
        # what was given may hold a password: it is not shown
        raise PushFailed(
            "that is not the address of a Grafana; http://HOST:PORT or https://HOST/PATH without a user, a password "
            "or a query is accepted"
        )
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise PushFailed("the token is empty or has spaces in it; the token of a service account is accepted")
    # the client glues its own path to this one
    grafana: GrafanaApi = GrafanaApi.from_url(url.rstrip("/") + "/", credential=token, timeout=TIMEOUT_SECONDS)
    with _explained(url, "tell its version"):
        built: Any = grafana.health.check()
    version = built.get("version") if isinstance(built, dict) else None
    major = re.match(r"(\d+)\.", str(version))
    if major is None:
        raise PushFailed(f"{url} does not answer as Grafana does; is it another server's address?")
    if int(major[1]) < OLDEST:
        raise PushFailed(f"{url} is Grafana {version}; {OLDEST} or newer is accepted")
    return grafana


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and is_plain and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return False


def _make_folder(grafana: GrafanaApi, url: str) -> None:
    with _explained(url, f"make the folder {FOLDER}"):
        if _found(grafana.folder.get_folder, FOLDER) is None:
            grafana.folder.create_folder(FOLDER, uid=FOLDER)


def _push_one(grafana: GrafanaApi, url: str, name: str, *, is_dry: bool) -> Pushed:
    wanted = json.loads(dashboard_json(name))
    with _explained(url, f"save the dashboard {name}"):
        there = _found(grafana.dashboard.get_dashboard, wanted["uid"])
        path = f"/d/{wanted['uid']}"
        if there is not None and _is_same(there, wanted):
            return Pushed(name, "unchanged", path)
        if not is_dry:
            # without an id it is the uid that tells which one is overwritten
            sent = {"dashboard": {**wanted, "id": None}, "folderUid": FOLDER, "overwrite": True}
            grafana.dashboard.update_dashboard(sent)
    return Pushed(name, "created" if there is None else "updated", path)


def _is_same(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether Grafana's answer holds this very dashboard, in our folder."""
    content = {key: value for key, value in there["dashboard"].items() if key not in _SET_BY_GRAFANA}
    return content == wanted and there.get("meta", {}).get("folderUid") == FOLDER


def _found(get: Any, uid: str) -> Any:
    """What is there under a uid; None where there is nothing."""
    try:
        return get(uid)
    except GrafanaClientError as error:
        if error.status_code == 404:
            return None
        raise


@contextmanager
def _explained(url: str, aim: str) -> Iterator[None]:
    """Turn the client's exceptions into words for the user."""
    try:
        yield
    except GrafanaException as error:
        raise PushFailed(_words(error, url, aim)) from error
    except RequestException as error:
        raise PushFailed(f"no connection to Grafana at {url}: {type(error).__name__}") from error


def _words(error: GrafanaException, url: str, aim: str) -> str:
    said = error.response.get("message") if isinstance(error.response, dict) else None
    match error.status_code:
        case 0:
            return f"Grafana at {url} did not answer within {TIMEOUT_SECONDS:g} s"
        case 401:
            return f"Grafana at {url} does not know this token (401); make one for a service account, and mind its end"
        case 403:
            return f"the token may not {aim} (403); give its service account the role Editor"
        case 400 if said and "provisioned" in said.lower():
            return f"Grafana can't {aim}: it is provisioned from files; change those, or take them away and push again"
        case 404 | 405 if aim.startswith("tell"):
            return f"{url} does not answer as Grafana does ({error.status_code}); is its path missing?"
        case status:
            return f"Grafana can't {aim} ({status}): {said or 'it does not say why'}"
