"""`/v1/stream`: audio as it is spoken, a decision an utterance."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

router = APIRouter()


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    state = websocket.app.state
    await state.streams.serve(websocket, state.gateway)
