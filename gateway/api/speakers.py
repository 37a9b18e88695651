"""`/v1/speakers`: who is known, and what they declared of themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query

from gateway import problems
from gateway.api.parts import TheGateway, errors
from gateway.gateway import Gateway
from gateway.records import RecordsError
from gateway.schemas import EnrolBody, ErasedResponse, SpeakerBody, SpeakerResponse, SpeakersResponse
from gateway.speakers import (
    ID_PATTERN,
    AlreadyEnrolled,
    Enrolled,
    ReadOnlyRegister,
    RegisterError,
    UnknownSpeaker,
    groups_of,
)

MOST = 1000

T = TypeVar("T")

Speaker = Annotated[str, Path(pattern=f"^{ID_PATTERN}$", description="an opaque id")]

router = APIRouter(prefix="/v1/speakers", tags=["speakers"])


@router.get("", responses=errors(422))
async def list_speakers(
    gateway: TheGateway,
    after: Annotated[str, Query(pattern=f"^({ID_PATTERN})?$", description="the last id of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST, description="speakers, at most")] = 100,
) -> SpeakersResponse:
    """Who is in the register, by id."""
    found = await _done(gateway, lambda: list(gateway.register.list(after=after, limit=limit)))
    return SpeakersResponse(speakers=[_shown(gateway, speaker) for speaker in found])


@router.get("/{speaker}", responses=errors(404, 422))
async def get_speaker(gateway: TheGateway, speaker: Speaker) -> SpeakerResponse:
    """What a speaker declared, and the groups that follow."""
    return _shown(gateway, await _done(gateway, lambda: gateway.register.get(speaker)))


@router.post("", status_code=201, responses=errors(400, 409, 422))
async def enrol_speaker(gateway: TheGateway, body: EnrolBody) -> SpeakerResponse:
    """Take a speaker into the register."""
    vocabulary = gateway.recognizer.vocabulary
    work = partial(gateway.register.enrol, body.speaker, body.declared, vocabulary)
    return _shown(gateway, await _done(gateway, work))


@router.put("/{speaker}", responses=errors(400, 404, 409, 422))
async def change_speaker(gateway: TheGateway, speaker: Speaker, body: SpeakerBody) -> SpeakerResponse:
    """Put what a speaker declares now in the place of what they did; earlier decisions keep their groups."""
    vocabulary = gateway.recognizer.vocabulary
    work = partial(gateway.register.change, speaker, body.declared, vocabulary)
    return _shown(gateway, await _done(gateway, work))


@router.delete("/{speaker}", responses=errors(404, 409, 422))
async def erase_speaker(gateway: TheGateway, speaker: Speaker) -> ErasedResponse:
    """Erase a speaker, and every decision, answer and clip that is stored of them."""
    erased = await _done(gateway, lambda: gateway.register.erase(speaker))
    return ErasedResponse(decisions=erased.decisions, answers=erased.answers, clips=erased.clips)


def _shown(gateway: Gateway, enrolled: Enrolled) -> SpeakerResponse:
    return SpeakerResponse(
        speaker=enrolled.speaker,
        declared=dict(enrolled.declared),
        groups=dict(groups_of(enrolled.declared, gateway.recognizer.vocabulary)),
        enrolled_at=enrolled.enrolled_at,
        changed_at=enrolled.changed_at,
    )


async def _done(gateway: Gateway, work: Callable[[], T]) -> T:
    """Work on the register, its errors as problems."""
    try:
        return await gateway.in_thread(work)
    except UnknownSpeaker as error:
        raise problems.NoSuchSpeaker(str(error)) from None
    except (AlreadyEnrolled, ReadOnlyRegister) as error:
        raise problems.NotNow(str(error)) from None
    except RegisterError as error:
        raise problems.UnknownName(str(error)) from None
    except RecordsError:
        raise problems.RecordsUnavailable("the register can't be read or written; try again") from None
