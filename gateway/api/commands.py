"""`/v1/commands`: a spoken command in, a decision out; and what was really said, later."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.requests import ClientDisconnect

from gateway import problems
from gateway.api.parts import TheGateway, errors
from gateway.api.reading import DOCUMENTED, Audio, read_audio
from gateway.gateway import Command
from gateway.idempotency import LONGEST, IdempotencyKey
from gateway.middleware.log import noted
from gateway.schemas import CommandResponse, LabelRequest, LabelResponse

READ_SECONDS = 10
ANYBODY = "-"  # whose idempotency keys they are where nobody is asked for an API key

router = APIRouter(prefix="/v1/commands", tags=["commands"])


@router.post(
    "",
    response_model=CommandResponse,
    responses=errors(400, 408, 409, 413, 415, 422),
    openapi_extra={"requestBody": DOCUMENTED},
)
async def decide_command(
    request: Request,
    gateway: TheGateway,
    speaker: Annotated[str | None, Query(max_length=64, description="id in the register")] = None,
    defense: Annotated[str | None, Query(max_length=128, description="one that the bundle allows")] = None,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=LONGEST, description="the same key and request get the same answer, which is counted once"),
    ] = None,
    x_request_timeout_ms: Annotated[
        int | None, Header(ge=1, le=600_000, description="after so long the answer is an abstention, reason deadline")
    ] = None,
) -> Response:
    """Decide on one spoken command: 200 for an acceptance and for an abstention.

    What is not a fresh acceptance means: hold, start no new motion.
    """
    arrived = time.perf_counter()
    gateway.check_capacity()
    try:
        async with asyncio.timeout(READ_SECONDS):
            audio = await read_audio(request)
    except TimeoutError:
        raise problems.TooSlow(f"the request did not come within {READ_SECONDS} s") from None
    except ClientDisconnect:  # nobody gets this answer; the log tells it from a fault
        raise problems.TooSlow("the connection ended before the request was here") from None
    speaker = audio.fields.get("speaker", speaker) or None
    defense = audio.fields.get("defense", defense) or None
    command = Command(
        audio.decode,
        speaker=speaker,
        defense=defense,
        arrived=arrived,
        timeout_ms=x_request_timeout_ms,
        key=_key(request, idempotency_key, audio, speaker, defense),
        data=audio.data,
        media_type=audio.media_type,
    )
    answer = await gateway.command(command)
    said = noted(request.scope)
    said.request_id, said.decision, said.reason = answer.request_id, answer.decision, answer.reason
    return Response(answer.model_dump_json(), media_type="application/json")  # checked when it was made


@router.post("/{request_id}/label", responses=errors(400, 404, 409, 422))
async def label_command(
    gateway: TheGateway, request_id: Annotated[uuid.UUID, Path(description="of the decision")], body: LabelRequest
) -> LabelResponse:
    """Tell the true command of a decision, later; it is counted once, ever."""
    return await gateway.label(str(request_id), body.command)


def _key(
    request: Request, header: str | None, audio: Audio, speaker: str | None, defense: str | None
) -> IdempotencyKey | None:
    return IdempotencyKey.of(
        header,
        sender=noted(request.scope).key or ANYBODY,
        asked=(audio.data, audio.media_type, speaker, defense),
    )
