"""Declarations of HTTP operations, which features make and ``server/`` serves.

``server/`` turns them into routes, problem documents and the OpenAPI document. Neither this
module nor any feature imports aiohttp.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from chatsvc.api.access import Access
from chatsvc.api.body import StreamedBody, StreamedReply


class Reply(NamedTuple):
    """An answer.

    Args:
        status: of the response.
        body: JSON bytes ready to send, something msgspec encodes, or one that is written in
            parts.
        headers: further header fields.
        message_id: the message that the call was about, for the line in the log.
    """

    status: int
    body: bytes | msgspec.Struct | StreamedReply
    headers: Mapping[str, str] | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the HTTP interface.

    ``request`` is decoded strictly: from the JSON body where the method is POST, PUT
    or PATCH, otherwise from the query string and the names in ``path``. With a JSON body the
    names in ``path`` are decoded to ``path_fields``, a struct of ``str`` fields of these names.
    ``body_optional``: a request without a body is decoded as ``{}``, so no field of ``request``
    is required. ``headers`` is a struct of ``str | None`` fields, in the order of
    ``header_names``, which gives the request header that each comes from.

    ``handler`` is called with (caller, request), followed by the headers and by the path fields
    where there are such; the caller is ``None`` where ``access`` needs no token. With a
    ``stream`` the body is not JSON: ``request`` is decoded from query string and path, and the
    handler's last argument is the body's parts. ``errors`` are the classes of
    ``core/errors.py`` that it can raise in addition to those of every operation.

    ``responses`` has a sentence for each status and the struct of its body, or the media types
    of one that is written in parts.

    ``bounds`` holds JSON Schema keywords by field of ``request`` (``participants``, or
    ``participants/items``), of ``path_fields`` (``user``) and of ``headers``
    (``headers/device``) for what its type does not say.
    ``check`` is for a GET whose answer is large or expensive: HEAD then calls it with (caller,
    request); it raises the errors that follow from the request alone, and nothing is read or
    built. Without it HEAD runs the handler.
    ``request_schema`` holds keywords of the request as a whole (of a body). ``example`` is a
    request of the user ``alice``, with its path fields: the documentation page fills its forms
    with it, and only the parameters that it names.

    ``local_only`` refuses requests that do not come directly from this machine;
    ``own_pages_only`` refuses pages of other origins in a browser, whatever CORS allows.
    ``quiet``: monitoring calls it every few seconds, so its log line has the level debug.
    """

    name: str
    method: str
    path: str
    summary: str
    access: Access
    request: type[msgspec.Struct]
    responses: Mapping[int, tuple[str, type[Any] | tuple[str, ...]]]
    handler: Callable[..., Awaitable[Reply]]
    stream: StreamedBody | None = None
    path_fields: type[msgspec.Struct] | None = None
    body_optional: bool = False
    headers: type[msgspec.Struct] | None = None
    header_names: Mapping[str, str] = field(default_factory=dict)
    response_headers: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    errors: tuple[type[Exception], ...] = ()
    tag: str = ""
    description: str = ""
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    check: Callable[[Any, Any], object] | None = None
    request_schema: Mapping[str, Any] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)
    local_only: bool = False
    own_pages_only: bool = False
    quiet: bool = False
