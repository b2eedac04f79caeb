from __future__ import annotations

import pytest

from chatsvc.core.text import has_surrogate


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", False),
        ("plain", False),
        ("é \U0001f600", False),
        ("\ud7ff\ue000", False),  # the characters beside the surrogates
        ("\ud800", True),
        ("a\udfff", True),
        ("é\udc80b", True),
    ],
)
def test_what_cannot_be_encoded(text: str, found: bool) -> None:
    assert has_surrogate(text) is found
    if found:
        with pytest.raises(UnicodeEncodeError):
            text.encode()
    else:
        text.encode()
