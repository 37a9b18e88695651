"""What a robot asks a gateway with: whatever is not a fresh acceptance is a hold, by construction."""

from gateway.client.answer import Answer, Kind
from gateway.client.asking import GatewayError
from gateway.client.asynchronous import AsyncClient
from gateway.client.conversation import END_UTTERANCE, Ended, EndUtterance, Event, Heard
from gateway.client.synchronous import Client
from gateway.client.timeouts import Timeouts
from gateway.streaming.messages import Ready, Started

__all__ = [
    "END_UTTERANCE",
    "Answer",
    "AsyncClient",
    "Client",
    "EndUtterance",
    "Ended",
    "Event",
    "GatewayError",
    "Heard",
    "Kind",
    "Ready",
    "Started",
    "Timeouts",
]
