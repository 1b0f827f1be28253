"""How connections end: a client goes, or a handler closes, as a dying server or a proxy does.

Knows uvicorn's protocol, and nothing of what is said over it.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CLOSE = "localargo.close"


class ClosableProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests carry the means to close their connection."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_CLOSE: {"close": self.transport.close}}


async def gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def close_connection(scope: Scope) -> None:
    """Close the connection of a request after what was sent, without the end of the answer."""
    scope["extensions"][_CLOSE]["close"]()


class NoAnswer:
    """An ASGI response that closes the connection instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close it; uvicorn answers by itself as long as it has not seen that."""
        close_connection(scope)
        await gone(receive)
