"""Addresses of doors: whether a credential that was meant for one door may be sent to another.

A client is pointed at one door and learns of the others there. What it learns is only as good as the way it
came: whoever can change an answer in the clear could name a door of their own. The page has the same rule.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit


def may_follow(pointed: str, learnt: str) -> bool:
    """Over TLS any door that is reached by TLS; in the clear the same host only, or this machine's own."""
    first, second = _parse_address(pointed), _parse_address(learnt)
    if first is None or second is None:
        return False
    if first.scheme == "https":
        return second.scheme == "https"
    return _host_of(first) == _host_of(second) or (
        is_loopback(_host_of(first)) and is_loopback(_host_of(second))
    )


def is_loopback(host: str) -> bool:
    """Whether a host, without a port, is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_address(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return None
    return parts if usable else None


def _host_of(parts: SplitResult) -> str:
    return parts.hostname or ""
