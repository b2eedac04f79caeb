"""Opening the WebSocket, and what a refused handshake means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp

from chatsvc.client.answers import is_problem, retry_after_seconds
from chatsvc.client.context import Closed
from chatsvc.client.errors import is_final
from chatsvc.client.http import ChatApi
from chatsvc.client.kinds import FEATURE, ChosenKinds
from chatsvc.wire import close_codes
from chatsvc.wire.protocol import PROTOCOL_VERSION

ABNORMAL: Final = 1006
"""The code of a connection that ended without a close frame (RFC 6455 §7.1.5)."""
MAX_FRAME_BYTES: Final = 16 * 1024**2


async def open_socket(
    api: ChatApi, token: str, parameters: Mapping[str, str | None]
) -> aiohttp.ClientWebSocketResponse[bool]:
    """Open the socket of a server.

    Args:
        api: whose server, session, certificates and headers are used.
        token: goes into the ``Authorization`` header.
        parameters: of the URL; those that are ``None`` are left out.

    Raises:
        aiohttp.ClientResponseError: the server, or a proxy, answered with something else.
        aiohttp.ClientError, OSError: no answer.
    """
    return await api.session.ws_connect(
        f"{api.base}/ws",
        params={name: value for name, value in parameters.items() if value is not None},
        headers={**api.headers, "Authorization": f"Bearer {token}"},
        timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        protocols=(PROTOCOL_VERSION,),
        max_msg_size=MAX_FRAME_BYTES,
        decode_text=False,
        ssl=api.ssl,
    )


def refused_handshake(error: aiohttp.ClientResponseError, kinds: ChosenKinds) -> Closed:
    """Translate an HTTP answer to a handshake that asked for ``kinds`` into a close code.

    A refusal of the token is certain only where the server itself gave it: by a problem
    document, or a challenge for a bearer token. A proxy refuses for reasons of its own,
    which pass.
    """
    headers: Mapping[str, str] = error.headers or {}
    challenge = headers.get("WWW-Authenticate", "")
    certain = is_problem(headers) or challenge.lower().startswith("bearer")
    if error.status == 401:
        reason = f"the token was refused: {challenge or 'no reason given'}"
        return Closed(close_codes.TOKEN_INVALID, reason, certain=certain)
    if error.status == 403:
        return Closed(close_codes.FORBIDDEN, "refused", certain=certain)
    if is_problem(headers) and is_final(error.status):
        reason = f"the server refuses the handshake: {error.status}"
        if error.status == 422 and not kinds.messages_only:  # a parameter that it does not know
            reason += f"; to ask for kinds, it must have the feature {FEATURE}"
        return Closed(ABNORMAL, reason, final=True)
    retry_after = retry_after_seconds(headers)
    if retry_after is not None:
        milliseconds = int(min(retry_after, 999_999) * 1000)
        reason = close_codes.reason_with_retry(f"http_{error.status}", milliseconds)
        return Closed(close_codes.OVERLOAD, reason)
    return Closed(ABNORMAL, f"cannot connect: the server answered {error.status}")
