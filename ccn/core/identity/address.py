"""Addresses of nodes: whether a credential that was meant for one may be sent to another.

A client is given one address and learns the others from the node there. It can trust what it learns only as
far as the connection: on an unencrypted one, somebody could put in an address of their own. The web page
follows the same rule.
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
