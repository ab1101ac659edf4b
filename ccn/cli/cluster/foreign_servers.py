"""What the settings say of servers elsewhere, while a cluster on this machine brings its own.

Separate because it is decided before anything starts. A variable is kept from the nodes, and said to
be; what a file says they would read all the same, so what would mislead them is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from ccn import errors
from ccn.settings import explain
from ccn.settings.load import SettingsReading

_PAIR = ("ca", "certificate", "key")
_HARMLESS = (
    ("database", "url"),
    ("database", "owner_url"),
    *(("database", end) for end in _PAIR),
    ("etcd", "endpoints"),
    *(("tls", end) for end in _PAIR),
)
"""What nodes are given as well, or do not look at where the embedded servers are."""
_MISLEADING = (
    ("database", "replica_url"),
    *(("etcd", end) for end in _PAIR),
    ("etcd", "user"),
    ("etcd", "password"),
)


def describe_unused(reading: SettingsReading) -> str:
    """Say which settings have no effect here; empty if there are none. Refuse those that would harm."""
    door = reading.field_origin("http", "tls_ca")
    if door != "default":
        raise errors.SettingsInvalid(
            f"{_name_place(door, 'http', 'tls_ca')}: ccn up asks its own doors whether they are ready, and "
            "shows them no certificate: start the nodes by themselves, or leave it out"
        )
    for place in _MISLEADING:
        origin = reading.field_origin(*place)
        if origin != "default" and not origin.startswith("CCN_"):
            raise errors.SettingsInvalid(
                f"{_name_place(origin, *place)} is for servers elsewhere, and ccn up brings its own, "
                "without TLS and users: take it out, or name a file without it in CCN_SETTINGS"
            )
    origins = {place: reading.field_origin(*place) for place in (*_HARMLESS, *_MISLEADING)}
    named = [_name_place(origin, *place) for place, origin in origins.items() if origin != "default"]
    if not named:
        return ""
    return f"left alone, because ccn up brings servers and certificates of its own: {', '.join(named)}"


def blank_variables() -> Mapping[str, str]:
    """Keep the variables for servers elsewhere from the nodes: an empty one counts as unset."""
    return {explain.variable_name(*place): "" for place in (*_HARMLESS, *_MISLEADING)}


def _name_place(origin: str, group: str, field: str) -> str:
    return origin if origin.startswith("CCN_") else f"{origin}: [{group}] {field}"
