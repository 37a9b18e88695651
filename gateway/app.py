"""The HTTP API as a FastAPI application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from gateway import problems
from recognizer.audio import AudioError

ASSETS = "/static_content"  # where BentoML serves Swagger UI's files from, so that the page loads nothing from outside
DESCRIPTION = """Spoken commands in, decisions out: accept or abstain.

Whatever is not a fresh acceptance means *hold*: start no new motion. Not a safety function: a spoken stop never
replaces an emergency stop."""


def create_app() -> FastAPI:
    """The whole application; it answers 503 until `app.state` has a gateway, a registry and streams."""
    app = bare_app()
    add_api(app)
    return app


def bare_app() -> FastAPI:
    """The application without what it answers: quick to load, for a process that only starts the workers."""
    app = FastAPI(
        title="evenvoice",
        version="1",
        description=DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would lead to whatever host the request named
    )
    app.state.gateway = None
    app.state.registry = None
    app.state.streams = None
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(AudioError, problems.on_audio_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(RequestValidationError, problems.on_validation_error)
    app.add_exception_handler(Exception, problems.on_unexpected)
    app.add_api_route("/docs", _docs, methods=["GET", "HEAD"], include_in_schema=False)
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    return app


def add_api(app: FastAPI) -> None:
    """Give the application what it answers."""
    from gateway.api import commands, pages, speakers, status, stream  # which load torch

    for part in (commands, pages, speakers, status, stream):
        app.include_router(part.router)


def _docs() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="evenvoice: HTTP API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon-light-32x32.png",
    )


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI can't know: problems are of our own kind, keys are bearer tokens, and what answers look like."""
    from gateway.api import examples  # which loads torch

    examples.add_answers(schema["paths"])
    parts = schema["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    parts["schemas"]["ProblemDetails"] = problems.ProblemDetails.model_json_schema()
    parts["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "an API key, where the gateway has a file of them"}
    }
    schema["security"] = [{"key": []}, {}]
    return schema
