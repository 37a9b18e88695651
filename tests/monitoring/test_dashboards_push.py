"""Pushing the dashboards to a server that answers as Grafana does, through the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grafana_server import EDITOR, VIEWER, Grafana
from prometheus_server import free_port

from gateway.cli.main import main
from monitoring.dashboards.pushing import PushFailed, push
from monitoring.dashboards.writing import DASHBOARDS, dashboard_json

UIDS = {f"evenvoice-{name}" for name in DASHBOARDS}


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with Grafana() as started:
        yield started


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`evenvoice dashboards push`; its exit code, and what it said."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("EVENVOICE_GRAFANA_URL", raising=False)

    def run(*arguments: str, token: str | None = EDITOR) -> tuple[int, str]:
        if token is None:
            monkeypatch.delenv("EVENVOICE_GRAFANA_TOKEN", raising=False)
        else:
            monkeypatch.setenv("EVENVOICE_GRAFANA_TOKEN", token)
        monkeypatch.setattr(sys, "argv", ["evenvoice", "dashboards", "push", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out + said.err

    return run


def test_every_dashboard_stands_in_the_folder_as_it_is_checked_in(grafana: Grafana, command: Command) -> None:
    code, said = command("--url", grafana.url)
    assert code == 0
    assert said.count("created") == len(DASHBOARDS)
    assert set(grafana.dashboards) == UIDS
    assert set(grafana.folders) == {"evenvoice"}
    for name in DASHBOARDS:
        there = grafana.dashboards[f"evenvoice-{name}"]
        assert there["folderUid"] == "evenvoice"
        got = {key: value for key, value in there["dashboard"].items() if key not in ("id", "version")}
        assert got == json.loads(dashboard_json(name))
        assert f"{grafana.url}/d/evenvoice-{name}" in said


def test_pushing_again_saves_nothing(grafana: Grafana, command: Command) -> None:
    command("--url", grafana.url)
    writes = grafana.writes
    code, said = command("--url", grafana.url + "/")
    assert (code, grafana.writes) == (0, writes)
    assert said.count("unchanged") == len(DASHBOARDS)


def test_what_was_changed_by_hand_or_moved_is_put_right(grafana: Grafana, command: Command) -> None:
    command("--url", grafana.url)
    grafana.dashboards["evenvoice-audits"]["dashboard"]["title"] = "mine"
    grafana.dashboards["evenvoice-defenses"]["folderUid"] = "elsewhere"
    _, said = command("--url", grafana.url)
    assert said.count("updated") == 2
    assert {uid: there["saves"] for uid, there in grafana.dashboards.items()} == {
        "evenvoice-fairness": 1, "evenvoice-operations": 1, "evenvoice-audits": 2, "evenvoice-defenses": 2,
    }  # fmt: skip
    assert grafana.dashboards["evenvoice-audits"]["dashboard"]["title"] == "evenvoice: audits"
    assert {there["folderUid"] for there in grafana.dashboards.values()} == {"evenvoice"}


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(grafana: Grafana, command: Command) -> None:
    code, said = command("--url", grafana.url, "--dry-run", token=VIEWER)
    assert (code, grafana.writes, grafana.dashboards, grafana.folders) == (0, 0, {}, {})
    assert said.count("would be created") == len(DASHBOARDS)
    command("--url", grafana.url)
    grafana.dashboards["evenvoice-audits"]["dashboard"]["title"] = "mine"
    writes = grafana.writes
    _, said = command("--url", grafana.url, "--dry-run")
    assert (said.count("would be updated"), said.count(": unchanged")) == (1, 3)
    assert grafana.writes == writes


def test_a_grafana_below_a_path_is_found(command: Command) -> None:
    with Grafana(path="/monitoring/grafana") as grafana:
        assert command("--url", grafana.url)[0] == 0
        assert set(grafana.dashboards) == UIDS
        code, said = command("--url", grafana.url.removesuffix("/grafana"))
    assert code == 1
    assert "is its path missing?" in said


def test_the_token_may_stand_in_a_file(grafana: Grafana, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{EDITOR}\n")
    assert command("--url", grafana.url, "--token-file", str(file), token="another")[0] == 0
    assert set(grafana.dashboards) == UIDS


@pytest.mark.parametrize(
    ("token", "words"),
    [("wrong", "does not know this token"), (VIEWER, "the role Editor"), ("a b", "has spaces in it")],
)
def test_a_token_that_may_not_is_told_so_and_not_shown(
    grafana: Grafana, command: Command, token: str, words: str
) -> None:
    code, said = command("--url", grafana.url, token=token)
    assert code == 1
    assert words in said
    assert token not in said
    assert grafana.dashboards == {}


def test_without_a_token_nothing_is_asked(grafana: Grafana, command: Command) -> None:
    code, said = command("--url", grafana.url, token=None)
    assert code == 2
    assert "EVENVOICE_GRAFANA_TOKEN" in said


def test_an_old_grafana_is_refused(command: Command) -> None:
    with Grafana(version="9.5.21") as grafana:
        code, said = command("--url", grafana.url)
    assert code == 1
    assert "9.5.21; 10 or newer is accepted" in said
    assert grafana.writes == 0


def test_a_provisioned_dashboard_is_left_to_its_file(command: Command) -> None:
    with Grafana(provisioned={"evenvoice-fairness"}) as grafana:
        code, said = command("--url", grafana.url)
    assert code == 1
    assert "provisioned from files" in said


def test_no_connection_is_told_in_words(command: Command) -> None:
    code, said = command("--url", f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert "no connection to Grafana" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "url",
    [
        "grafana:3000",
        "ftp://grafana",
        "http://admin:secret@grafana",
        "http://g?verify=false",
        "http://g:no",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused_and_a_password_in_it_not_shown(url: str) -> None:
    with pytest.raises(PushFailed, match="not the address of a Grafana") as refused:
        push(url, EDITOR)
    assert "secret" not in str(refused.value)
