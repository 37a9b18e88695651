"""A request's audio: from a form or bare, as a file or as samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from gateway import problems
from recognizer.audio import AudioFormat, Clip, decode, decode_pcm16

FILE_TYPES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/flac", "audio/x-flac", "application/octet-stream")
PCM_TYPE = "audio/l16"

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
DOCUMENTED: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["audio"],
                "properties": {
                    "audio": {"type": "string", "format": "binary", "description": "WAV or FLAC"},
                    "speaker": {"type": "string", "description": "id in the register", "maxLength": 64},
                    "defense": {"type": "string", "description": "one that the bundle allows", "maxLength": 128},
                },
            }
        },
        "audio/wav": _BINARY,
        "audio/flac": _BINARY,
        "audio/L16;rate=16000": _BINARY,
    },
}
"""The request body in OpenAPI's words."""


@dataclass(frozen=True)
class Audio:
    """The audio of a request as it came, and what decodes it."""

    data: bytes
    media_type: str
    decode: Callable[[AudioFormat], Clip]
    fields: Mapping[str, str] = field(default_factory=dict)
    """The form's text fields."""


async def read_audio(request: Request) -> Audio:
    """
    Raises:
        Problem: a body that is none, or a content type that is not accepted.
    """
    media_type, parameters = _content_type(request.headers.get("content-type", ""))
    if media_type == "multipart/form-data":
        return await _read_form(request)
    if media_type == PCM_TYPE:
        rate, channels = _integer(parameters, "rate", None), _integer(parameters, "channels", 1)
        data = await request.body()
        reader = partial(_decode_pcm16, data, rate, channels)
        return Audio(data, f"audio/L16;rate={rate};channels={channels}", reader)
    if media_type in FILE_TYPES:
        data = await request.body()
        return Audio(data, media_type, partial(decode, data))
    raise problems.UnsupportedMediaType(
        f"{media_type or 'no content type'} is not accepted; send multipart/form-data with the field audio, "
        "or the bare bytes as audio/wav, audio/flac or audio/L16;rate=16000"
    )


def _decode_pcm16(data: bytes, rate: int, channels: int, audio: AudioFormat) -> Clip:
    return decode_pcm16(data, audio, sample_rate=rate, channels=channels)


async def _read_form(request: Request) -> Audio:
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
        data = await upload.read()
        fields = {k: v for k, v in form.items() if isinstance(v, str)}
        return Audio(data, "application/octet-stream", partial(decode, data), fields)
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
