"""The log: JSON or text, one line an event, and nothing in it that a client wrote."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from robot import ask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway import logs
from gateway.logs import LogFormat
from gateway.middleware.log import RequestLog, noted
from gateway.middleware.plain_errors import PlainErrors


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Written:
    """What was written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Every logger is as before, afterwards."""
    root, manager = logging.root, logging.root.manager
    loggers = [root, *(logger for logger in manager.loggerDict.values() if isinstance(logger, logging.Logger))]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield Written(capsys)
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


async def decides(request: Request) -> Response:
    own = noted(request.scope)
    own.request_id, own.decision, own.reason = "1b671a64", "abstain", "no_speech"
    return PlainTextResponse("x")


async def fails(_: Request) -> Response:
    raise RuntimeError("speaker s-17 said seven")


APP = RequestLog(
    PlainErrors(
        Starlette(
            routes=[
                Route("/v1/commands", decides, methods=["POST"]),
                Route("/v1/model", fails),
                Route("/livez", decides),
            ]
        )
    )
)


def test_a_request_is_one_line_of_json_with_what_was_decided(stderr: Written) -> None:
    logs.configure(LogFormat.JSON)
    before = datetime.now(UTC)
    ask(APP, "POST", "/v1/commands", content=b"RIFF", params={"speaker": "s-17"}, headers={"authorization": "Bearer k"})
    (line,) = stderr.lines
    assert abs(datetime.fromisoformat(line.pop("time")) - before) < timedelta(seconds=10)
    assert 0 <= line.pop("ms") < 10_000
    assert line == {
        "level": "info", "event": "request", "method": "POST", "route": "/v1/commands", "status": 200,
        "request_id": "1b671a64", "decision": "abstain", "reason": "no_speech",
    }  # fmt: skip


def test_nothing_that_a_client_wrote_is_in_the_log(stderr: Written) -> None:
    logs.configure(LogFormat.JSON)
    secret = "Mrs-Smith"
    for method, path in (
        ("GET", f"/{secret}"), ("POST", "/v1/commands"), ("GET", "/v1/model"), ("DELETE", f"/v1/speakers/{secret}"),
        ("PUT", f"/v1/commands/{secret}/label"), (secret.upper(), "/v1/commands"),
    ):  # fmt: skip
        headers = {"authorization": f"Bearer {secret}", "user-agent": secret, "x-request-id": secret, "cookie": secret}
        ask(APP, method, path, content=secret.encode(), params={"speaker": secret}, headers=headers)
    assert secret.lower() not in stderr.text.lower()
    assert "s-17" not in stderr.text
    requests = [line for line in stderr.lines if line["event"] == "request"]
    assert [line["route"] for line in requests] == [
        "other", "/v1/commands", "/v1/model", "/v1/speakers/{speaker}", "/v1/commands/{request_id}/label",
        "/v1/commands",
    ]  # fmt: skip
    assert requests[-1]["method"] == "other"


def test_a_fault_says_its_kind_and_place_and_none_of_its_words(stderr: Written) -> None:
    logs.configure(LogFormat.JSON)
    ask(APP, "GET", "/v1/model")
    fault, request = stderr.lines
    assert (fault["level"], fault["error"]) == ("error", "RuntimeError")
    assert fault["at"][-1].startswith("test_logs.py:")
    assert fault["at"][-1].endswith(" fails")
    assert (request["status"], request["level"]) == (500, "error")


def test_what_the_operating_system_says_is_told_without_the_file(stderr: Written) -> None:
    logs.configure(LogFormat.JSON)
    try:
        open("/nowhere/s-17")  # noqa: PTH123, SIM115
    except OSError:
        logging.getLogger("gateway.x").exception("a clip was not kept")
    (line,) = stderr.lines
    assert line["error"] == "FileNotFoundError: No such file or directory"
    assert "s-17" not in stderr.text


def test_levels_tell_refusals_and_faults_and_probes_that_succeed_are_silent(stderr: Written) -> None:
    logs.configure(LogFormat.JSON)
    for status in (200, 307, 401, 403, 404, 422, 429, 503):
        ask(RequestLog(PlainTextResponse("x", status)), "GET", "/livez")
    assert {line["status"]: line["level"] for line in stderr.lines} == {
        307: "info", 401: "warning", 403: "warning", 404: "info", 422: "info", 429: "warning", 503: "error",
    }  # fmt: skip


def test_a_request_that_is_cut_off_has_its_line(stderr: Written) -> None:
    logs.configure(LogFormat.JSON)

    async def cut(*_: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ask(RequestLog(cut), "GET", "/metrics")
    (line,) = stderr.lines
    assert (line["status"], line["level"], line["route"]) == (None, "error", "/metrics")


@pytest.mark.parametrize(("first", "status"), [("websocket.accept", 101), ("websocket.close", 403)])
def test_a_stream_is_one_line(stderr: Written, first: str, status: int) -> None:
    logs.configure(LogFormat.JSON)

    async def stream(_: Any, __: Any, send: Any) -> None:
        await send({"type": first})
        await send({"type": "websocket.close"})

    async def send(_: Any) -> None: ...

    asyncio.run(RequestLog(stream)({"type": "websocket", "path": "/v1/stream"}, None, send))  # type: ignore[arg-type]
    (line,) = stderr.lines
    assert (line["event"], line["method"], line["route"]) == ("stream", "WEBSOCKET", "/v1/stream")
    assert line["status"] == status


def test_other_loggers_write_the_same_way_once_and_bentomls_handlers_are_gone(stderr: Written) -> None:
    other = logging.getLogger("bentoml")
    other.addHandler(logging.StreamHandler(sys.stderr))
    other.propagate = False
    logs.configure(LogFormat.JSON)
    logging.getLogger("bentoml.serve").info("Service %s initialized", "evenvoice")
    logging.getLogger("somebody.else").warning("two\nlines")
    logging.getLogger("somebody.else").info("not shown")
    logging.getLogger("uvicorn.access").error("GET /Mrs-Smith")
    shown = [(line["logger"], line["message"], line["level"]) for line in stderr.lines]
    assert shown == [
        ("bentoml.serve", "Service evenvoice initialized", "info"),
        ("somebody.else", "two\nlines", "warning"),
    ]


def test_a_terminal_gets_text_and_a_file_gets_json_unless_it_is_said(
    stderr: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not stderr.text

    def first_line(kind: LogFormat | None, file: io.StringIO) -> str:
        monkeypatch.setattr(sys, "stderr", file)
        logs.configure(kind)
        ask(APP, "POST", "/v1/commands")
        return file.getvalue()

    text = first_line(None, Terminal())
    assert text.count("\n") == 1
    assert " INFO event=request method=POST route=/v1/commands status=200 " in text
    assert "reason=no_speech" in text
    assert json.loads(first_line(None, io.StringIO()))["event"] == "request"
    assert json.loads(first_line(LogFormat.JSON, Terminal()))["event"] == "request"
    assert "event=request" in first_line(LogFormat.TEXT, io.StringIO())


def test_an_event_is_one_line_of_text(stderr: Written) -> None:
    logs.configure(LogFormat.TEXT)
    logging.getLogger("x").warning("a\nforged ERROR line\r\n")
    assert stderr.text.count("\n") == 1
    assert stderr.text.endswith("WARNING x a\\nforged ERROR line\\r\\n\n")
