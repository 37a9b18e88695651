"""Pages for people: `/fairness` and `/console`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi.responses import HTMLResponse

from gateway.api.parts import TheGateway
from gateway.api.status import get_fairness
from gateway.gateway import Gateway
from gateway.pages.console import CONSOLE, STATIC_FILES
from gateway.pages.fairness import FairnessView, NoSuchFigures, Source, fairness_view
from gateway.pages.render import console_panels, fairness_page
from gateway.problems import UnknownName
from gateway.schemas import FairnessResponse

router = APIRouter(include_in_schema=False)

Fairness = Annotated[FairnessResponse, Depends(get_fairness)]


@router.get("/fairness")
def get_fairness_page(
    gateway: TheGateway,
    state: Fairness,
    defense: str | None = None,
    model: str | None = None,
    refresh: Annotated[int | None, Query(ge=10, le=3600, description="seconds")] = None,
) -> HTMLResponse:
    """What `/v1/fairness` says, for eyes."""
    view = _view(gateway, state, defense, model)
    return HTMLResponse(fairness_page(view, refresh=refresh, now=datetime.now(UTC)))


@router.api_route("/console", methods=["GET", "HEAD"])
async def get_console() -> HTMLResponse:
    """Speak, and see what the gateway makes of it. Open to anybody: what the page asks for is not."""
    return HTMLResponse(CONSOLE)


@router.api_route("/console/static/{file}", methods=["GET", "HEAD"])
async def get_console_file(file: str) -> Response:
    """What the console loads."""
    if file not in STATIC_FILES:
        raise HTTPException(404, "the console has no such file")
    found = STATIC_FILES[file]
    return Response(found.text, media_type=found.media_type)


@router.get("/console/panels")
def get_console_panels(gateway: TheGateway, state: Fairness, defense: str | None = None) -> HTMLResponse:
    """The fairness panels of one defense of the bundle that is served, as a part of a page."""
    return HTMLResponse(console_panels(_view(gateway, state, defense, model=None)))


def _view(gateway: Gateway, state: FairnessResponse, defense: str | None, model: str | None) -> FairnessView:
    recognizer = gateway.recognizer
    try:
        return fairness_view(
            state,
            bundle=recognizer.name,
            served=Source(recognizer.default_defense, recognizer.short_version),
            defense=defense,
            model=model,
        )
    except NoSuchFigures as error:
        raise UnknownName(str(error)) from None
