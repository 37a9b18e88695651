"""Who gets in: API keys, roles and limits, before a byte of a body is read."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.keys import Keyring
from gateway.access.rates import Rates
from gateway.access.routes import Role, route_of
from gateway.middleware.log import noted
from gateway.problems import NotAllowed, NotAuthenticated, PasswordNeeded, Problem, TooManyRequests

REFUSALS_PER_MINUTE = 30
"""Requests without a right key that an address gets 401 for; further ones get 429."""
MAX_KEYS, MAX_ADDRESSES = 10_000, 4_096
"""Buckets kept; an attacker of many addresses pushes out other addresses' buckets, never a key's."""

STREAM_PROTOCOL = "evenvoice.v1"
KEY_PROTOCOL = "evenvoice.key."
"""A browser can't set headers on a WebSocket: it offers the two subprotocols `evenvoice.v1` and `evenvoice.key.<key>`.
The first is chosen; the second is taken off before the application sees it, and is never sent back."""

_BEARER, _BASIC = "bearer ", "basic "
_POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1"""


class Access:
    """ASGI middleware: 401 without a right key, 403 where its role does not reach, 429 above its rate.

    Without a keyring everybody on this machine may do everything, and nobody else may, unless `allow_anonymous`.
    Open routes (probes, documentation) need no key and have no rate.
    """

    def __init__(
        self, app: ASGIApp, *, keyring: Keyring | None, per_minute: int, allow_anonymous: bool = False
    ) -> None:
        self.app = app
        self.keyring = keyring
        self.per_minute = per_minute
        self.allow_anonymous = allow_anonymous
        self._key_rates = Rates(MAX_KEYS)
        self._address_rates = Rates(MAX_ADDRESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        shown, send = _shown_key(scope, send)
        try:
            self._check(scope, shown)
        except Problem as problem:
            await _refuse(problem, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _check(self, scope: Scope, shown: str | None) -> None:
        """Let a request pass, or raise.

        Raises:
            NotAuthenticated, NotAllowed, TooManyRequests: see their words.
        """
        route = route_of(scope)
        if route.is_open:
            return
        if self.keyring is None:
            self._check_anonymous(scope)
            return
        key = None if shown is None else self.keyring.find(shown)
        if key is None:
            _take(self._address_rates, _network_of(scope), REFUSALS_PER_MINUTE, "this address asks without a right key")
            if route.is_page:
                raise PasswordNeeded("give a key that the gateway knows as the password; any user name will do")
            raise NotAuthenticated("send a key that the gateway knows: Authorization: Bearer ev_...")
        noted(scope).key = key.id
        _take(self._key_rates, key.id, key.per_minute or self.per_minute, "this key asks")
        if not (key.role is Role.OPERATOR or key.role in route.roles):
            raise NotAllowed(f"a key of the role {key.role} does not reach this; an operator's does")

    def _check_anonymous(self, scope: Scope) -> None:
        if not (self.allow_anonymous or _is_from_this_machine(scope)):
            raise NotAuthenticated(
                "without API keys only programs on the gateway's machine are served; "
                "start it with --keys FILE, or with --allow-anonymous"
            )


def _take(rates: Rates, name: str, per_minute: int, who: str) -> None:
    wait = rates.take(name, per_minute)
    if wait > 0:
        raise TooManyRequests(f"{who} too often: {per_minute} a minute are answered", retry_after=math.ceil(wait))


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket's opening, with a problem; where the server can't, a WebSocket gets 403."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    await problem.response()(scope, receive, send)


def _shown_key(scope: Scope, send: Send) -> tuple[str | None, Send]:
    """The key that a client shows; a subprotocol that holds it is taken off the scope."""
    headers = Headers(scope=scope)
    header = headers.get("authorization", "")
    shown = header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else None
    if shown is None and route_of(scope).is_page:  # nowhere else: a browser adds a password to what other sites ask for
        shown = _password(header)
    offered = scope.get("subprotocols", [])
    keys = [p.removeprefix(KEY_PROTOCOL) for p in offered if p.startswith(KEY_PROTOCOL)]
    if not keys:
        return shown, send
    others = [p for p in offered if not p.startswith(KEY_PROTOCOL)]
    scope["subprotocols"] = others
    scope["headers"] = [(n, v) for n, v in scope["headers"] if n != b"sec-websocket-protocol"]

    async def choosing(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol") and STREAM_PROTOCOL in others:
            message = {**message, "subprotocol": STREAM_PROTOCOL}  # a browser gives up where none is chosen
        await send(message)

    return shown or keys[0], choosing


def _password(header: str) -> str | None:
    """Of HTTP Basic (RFC 7617); None where the header holds none."""
    if not header.lower().startswith(_BASIC):
        return None
    try:
        user_and_password = base64.b64decode(header[len(_BASIC) :].strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user_and_password.partition(":")[2] or None


def _is_from_this_machine(scope: Scope) -> bool:
    """Whether a program here asks, and not a web page through a browser here.

    A page from elsewhere shows by its Origin; one whose name was pointed at this machine, by its Host.
    """
    headers = Headers(scope=scope)
    named = [f"//{headers.get('host', '')}", *headers.getlist("origin")]
    client = scope.get("client")
    return client is not None and is_loopback(client[0]) and all(map(_names_this_machine, named))


def _names_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or is_loopback(host)


def is_loopback(address: str) -> bool:
    """Whether an IP address is of this machine only; no name is."""
    found = _address(address)
    return found is not None and found.is_loopback


def _network_of(scope: Scope) -> str:
    """The client's address; of IPv6 the network, since one client has all of its addresses."""
    client = scope.get("client")
    address = _address(client[0] if client else "")
    return str(ipaddress.ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
