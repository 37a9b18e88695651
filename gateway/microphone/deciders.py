"""Who decides on an utterance: a gateway, or a bundle in this process."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

import numpy as np
import soundfile

from gateway.microphone.heard import Verdict
from gateway.schemas import decided
from gateway.streaming.endpointing import Utterance, clip_of
from recognizer.audio import AudioError
from recognizer.decision import Decision, Reason, abstention

if TYPE_CHECKING:
    from gateway.client import Client
    from recognizer.recognizer import Recognizer


class Decider(Protocol):
    def decide(self, utterance: Utterance, *, number: int) -> Verdict:
        """Never raises for what the network, the gateway or the sound is like."""
        ...


class GatewayDecider:
    """Sends each utterance as a clip."""

    def __init__(self, client: Client, *, speaker: str | None = None, defense: str | None = None) -> None:
        self._client = client
        self._speaker, self._defense = speaker, defense

    def decide(self, utterance: Utterance, *, number: int) -> Verdict:  # noqa: ARG002  the protocol's
        """See `Decider`; speech that was cut is not sent, for half a sentence is no command."""
        if utterance.is_cut:
            seconds = len(utterance.waveform) / utterance.sample_rate
            detail = f"more than {seconds:g} s were spoken; say one command, then pause"
            return _verdict(abstention(Reason.TOO_LONG, detail), None)
        answer = self._client.decide(
            wav_of(utterance), media_type="audio/wav", speaker=self._speaker, defense=self._defense
        )
        response = answer.response
        if response is None:
            return Verdict(decision="error", detail=answer.detail)
        if response.decision == "accept" and answer.command is None:
            detail = f"{response.command} came too late: it was valid for {response.valid_for_ms} ms"
            return Verdict(decision="error", detail=detail, request_id=response.request_id)
        told = {name: getattr(response, name) for name in Verdict.model_fields if name != "seed"}
        return Verdict(**told)


class BundleDecider:
    """Decides here; the noise of utterance n is keyed by `seed` and `utterance-n`."""

    def __init__(self, recognizer: Recognizer, *, seed: int, defense: str | None = None) -> None:
        """
        Raises:
            UnknownDefense: the bundle has no such defense.
        """
        recognizer.defense(defense)
        self._recognizer, self._seed, self._defense = recognizer, seed, defense

    def decide(self, utterance: Utterance, *, number: int) -> Verdict:
        """See `Decider`."""
        try:
            clip = clip_of(utterance, self._recognizer.audio)
        except AudioError as error:
            if error.reason is None:
                return Verdict(decision="error", detail=str(error))
            return _verdict(abstention(error.reason, str(error)), self._seed)
        names = [f"utterance-{number}"]
        (decision,) = self._recognizer.decide([clip], clip_ids=names, seed=self._seed, defense=self._defense)
        return _verdict(decision, self._seed)


def wav_of(utterance: Utterance) -> bytes:
    """16-bit WAV at the rate that it was recorded at."""
    file = io.BytesIO()
    samples = np.rint(32768 * utterance.waveform).clip(-32768, 32767).astype(np.int16)
    soundfile.write(file, samples, utterance.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _verdict(decision: Decision, seed: int | None) -> Verdict:
    return Verdict(
        **decided(decision),
        seed=seed,
    )
