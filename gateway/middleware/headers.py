"""What every answer tells a browser: store nothing, guess nothing, load nothing from elsewhere."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.pages.style import STYLE_SOURCE

DOCS, FAIRNESS, CONSOLE = "/docs", "/fairness", "/console"
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
OWN_ASSETS = (
    # The page's script and style stand in the page itself; it holds nothing that a client sent.
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
OWN_PAGE = (
    # One style, by its hash, and an icon that is empty; no script, since names stand there that others chose.
    f"default-src 'none'; style-src {STYLE_SOURCE}; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
OWN_SCRIPTS = (
    # Its scripts and styles are files of the gateway. The panels, in which names stand that others chose, become part
    # of the page in one place only, which the browser knows by the name that follows trusted-types.
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types panels; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_POLICIES = {DOCS: OWN_ASSETS, FAIRNESS: OWN_PAGE, CONSOLE: OWN_SCRIPTS}
_PERMISSIONS = {CONSOLE: "microphone=(self), camera=(), geolocation=()"}
"""What a page may ask its reader for; one that is not here, for none of these."""
_NO_PERMISSION = "microphone=(), camera=(), geolocation=()"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_STARTS = ("http.response.start", "websocket.http.response.start")


class SecurityHeaders:
    """ASGI middleware: the headers above on every answer; a page may use what is its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        policy = _POLICIES.get(scope["path"], NOTHING)
        permissions = _PERMISSIONS.get(scope["path"], _NO_PERMISSION)

        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers["Content-Security-Policy"] = policy
                headers["Permissions-Policy"] = permissions
            await send(message)

        await self.app(scope, receive, with_headers)
