"""Schemas do not depend on the version of Python that made them."""

from __future__ import annotations

import msgspec

from chatsvc.server.schema.component_schemas import component_schemas


class Outer(msgspec.Struct):
    inner: Inner


class Inner(msgspec.Struct):
    text: str


def test_descriptions_have_no_indentation() -> None:
    Outer.__doc__ = "A summary.\n\n    More,\n      and a part of it.\n    "
    Inner.__doc__ = "A summary.\n\nMore, as Python 3.13 has it."
    schemas = component_schemas([Outer])
    assert schemas["Outer"]["description"] == "A summary.\n\nMore,\n  and a part of it."
    assert schemas["Inner"]["description"] == "A summary.\n\nMore, as Python 3.13 has it."
    assert schemas["Outer"]["properties"]["inner"] == {"$ref": "#/components/schemas/Inner"}
