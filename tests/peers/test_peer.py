"""Which addresses of peers need certificates."""

from __future__ import annotations

import pytest

from ccn.peers import peer


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("[::1]:1", True),
        ("::1", True),
        ("localhost:1", True),
        ("localhost", True),
        ("0.0.0.0:1", False),
        ("10.0.0.7:1", False),
        ("127.0.0.1.example.org:1", False),
        ("[::]:1", False),
        ("", False),
    ],
)
def test_what_stays_on_this_machine(address: str, here: bool) -> None:
    assert peer.is_loopback(address) is here
