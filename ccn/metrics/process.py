"""What this process is, and whether it may be sent work."""

from __future__ import annotations

from ccn.metrics import series

_ready = series.gauge(
    "ccn_ready",
    "Whether a check of this node's readiness passes. Alarming: 0 for longer than a minute.",
    ("check",),
)
_build = series.gauge(
    "ccn_build_info",
    "Always 1; the labels tell what runs here. Alarming: two versions outside of an upgrade.",
    ("node", "version"),
)
_role = series.gauge(
    "ccn_node_role",
    "Always 1; the label tells whether this process is a voter or a gateway. Alarming: no voter.",
    ("role",),
)
_protocol = series.gauge(
    "ccn_protocol",
    "The protocol in force, 0 while it is not known. Alarming: nodes that disagree for a minute.",
)
_protocol_supported = series.gauge(
    "ccn_protocol_supported",
    "Whether this program speaks the protocol in force. Alarming: 0, this node takes no part in rounds.",
)


def set_check(check: str, *, passes: bool) -> None:
    """Show the answer of a check of this node's readiness."""
    _ready.labels(check).set(passes)


def set_build(node: str, version: str) -> None:
    """Show which node of which version this process is."""
    _build.labels(node, version).set(1)


def set_role(role: str) -> None:
    """Show what this process is."""
    _role.labels(role).set(1)


def set_protocol(in_force: int | None, *, supported: bool) -> None:
    """Show which protocol is in force, and whether this program speaks it."""
    _protocol.set(in_force or 0)
    _protocol_supported.set(supported)
