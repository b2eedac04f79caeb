"""Declarations of metrics whose values are read when ``/metrics`` is requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """A number of some component.

    Args:
        name: without the prefix ``chatsvc_``, and without ``_total``.
        text: one sentence, for ``/metrics`` and the table in ``docs/operations.md``.
        read: returns the value, or with a ``label`` one for each of its values; fast, and never
            waits.
        kind: a counter only rises.
        label: by which there are several; its values are few, and ours.
    """

    name: str
    text: str
    read: Callable[[], float | Mapping[str, float]]
    kind: Literal["gauge", "counter"] = "gauge"
    label: str | None = None
