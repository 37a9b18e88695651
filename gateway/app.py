"""The HTTP API, version 1, as a FastAPI application: requests in, the gateway's answers out."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CollectorRegistry
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from gateway import problems
from gateway.gateway import Gateway
from gateway.schemas import CommandResponse, LabelRequest, LabelResponse
from monitoring.counters import CONTENT_TYPE, exposition
from recognizer.audio import AudioError, AudioFormat, Clip, decode, decode_pcm16

FILE_TYPES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/flac", "audio/x-flac", "application/octet-stream")
PCM_TYPE = "audio/l16"
READ_SECONDS = 10
ASSETS = "/static_content"  # where BentoML serves Swagger UI's files from, so that the page loads nothing from outside

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_COMMAND_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {
                        "audio": {"type": "string", "format": "binary", "description": "WAV or FLAC"},
                        "speaker": {"type": "string", "description": "id in the register"},
                        "defense": {"type": "string", "description": "one that the bundle allows"},
                    },
                }
            },
            "audio/wav": _BINARY,
            "audio/flac": _BINARY,
            "audio/L16;rate=16000": _BINARY,
        },
    }
}
_PROBLEM: dict[str, Any] = {
    "description": problems.ProblemDetails.__doc__,
    "content": {problems.MEDIA_TYPE: {"schema": problems.ProblemDetails.model_json_schema()}},
}
_ERRORS: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 408, 413, 415, 422, 500, 503), _PROBLEM)


def create_app() -> FastAPI:
    """The application; it answers 503 until `app.state.gateway` and `app.state.registry` are set."""
    app = FastAPI(
        title="evenvoice",
        version="1",
        description="Spoken commands in, decisions out: accept or abstain. Not a safety function.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.gateway = None
    app.state.registry = None
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(AudioError, problems.on_audio_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(RequestValidationError, problems.on_validation_error)
    app.add_exception_handler(Exception, problems.on_unexpected)

    @app.post("/v1/commands", tags=["commands"], responses=_ERRORS, openapi_extra=_COMMAND_BODY)
    async def decide_command(
        request: Request,
        speaker: Annotated[str | None, Query(max_length=64)] = None,
        defense: Annotated[str | None, Query(max_length=128)] = None,
    ) -> CommandResponse:
        """Decide on one spoken command: 200 for an acceptance and for an abstention."""
        arrived = time.perf_counter()
        gateway = _gateway(app)
        try:
            async with asyncio.timeout(READ_SECONDS):
                reader, fields = await _read(request, gateway.recognizer.audio)
        except TimeoutError:
            raise problems.TooSlow(f"the request did not come within {READ_SECONDS} s") from None
        return await gateway.command(
            reader,
            speaker=fields.get("speaker", speaker) or None,
            defense=fields.get("defense", defense) or None,
            arrived=arrived,
        )

    @app.post("/v1/commands/{request_id}/label", tags=["commands"], responses={**_ERRORS, 404: _PROBLEM, 409: _PROBLEM})
    async def label_command(
        request_id: Annotated[uuid.UUID, Path(description="of the decision")], body: LabelRequest
    ) -> LabelResponse:
        """Tell the true command of a decision, later; it is counted once, ever."""
        return await _gateway(app).label(str(request_id), body.command)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        _gateway(app)
        registry: CollectorRegistry = app.state.registry
        return Response(exposition(registry), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="evenvoice: HTTP API",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-light-32x32.png",
        )

    return app


def _gateway(app: FastAPI) -> Gateway:
    gateway = app.state.gateway
    if gateway is None:
        raise problems.NotReady("the bundle is being loaded; try again")
    assert isinstance(gateway, Gateway)
    return gateway


async def _read(request: Request, audio: AudioFormat) -> tuple[Callable[[], Clip], dict[str, str]]:
    """What decodes the request's audio, and its text fields."""
    media_type, parameters = _content_type(request.headers.get("content-type", ""))
    if media_type == "multipart/form-data":
        return await _read_form(request, audio)
    if media_type == PCM_TYPE:
        rate, channels = _integer(parameters, "rate", None), _integer(parameters, "channels", 1)
        return partial(decode_pcm16, await request.body(), audio, sample_rate=rate, channels=channels), {}
    if media_type in FILE_TYPES:
        return partial(decode, await request.body(), audio), {}
    raise problems.UnsupportedMediaType(
        f"{media_type or 'no content type'} is not accepted; send multipart/form-data with the field audio, "
        "or the bare bytes as audio/wav, audio/flac or audio/L16;rate=16000"
    )


async def _read_form(request: Request, audio: AudioFormat) -> tuple[Callable[[], Clip], dict[str, str]]:
    try:
        form = await request.form(max_files=1, max_fields=8)
    except (HTTPException, UnicodeDecodeError, KeyError, ValueError) as error:
        raise problems.MalformedRequest(f"the form can't be read: {getattr(error, 'detail', error)}") from None
    try:
        upload = form.get("audio")
        if upload is None:
            raise problems.MalformedRequest("the form has no field audio; send the clip as a file in it")
        if not isinstance(upload, UploadFile):
            raise problems.MalformedRequest("the field audio holds text; send the clip's bytes as a file in it")
        fields = {k: v for k, v in form.items() if isinstance(v, str)}
        return partial(decode, await upload.read(), audio), fields
    finally:
        await form.close()


def _content_type(header: str) -> tuple[str, dict[str, str]]:
    kind, *rest = (part.strip() for part in header.split(";"))
    pairs = (part.partition("=") for part in rest)
    return kind.lower(), {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}


def _integer(parameters: dict[str, str], name: str, default: int | None) -> int:
    text = parameters.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise problems.MalformedRequest(f"audio/L16 needs {name}=<whole number>, such as audio/L16;rate=16000")
    return int(text)
