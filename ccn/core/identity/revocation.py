"""Revoked certificates: they have not expired but no longer count, one by its number or all of a node.

An operator who lost a machine, or gave it away, revokes its certificates. Every node reads the list from
the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core import ids
from ccn.core.ids import NodeId

_SERIAL = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """A certificate as somebody shows it: its serial number in hexadecimal, and since when it is valid."""

    serial: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Revocation:
    """The certificate with this serial number, or else all of a node that were made until then."""

    node: NodeId | None
    serial: str | None
    at: datetime


def parse_target(text: str) -> tuple[NodeId | None, str | None]:
    """What somebody names: a node, or a serial number in pairs, as `ccn keys show` and openssl print it."""
    if ":" not in text:
        return NodeId(ids.check_name(text, "node")), None
    serial = text.replace(":", "").lower().lstrip("0")
    if not _SERIAL.fullmatch(serial):
        raise errors.InputInvalid(f"{text[:80]!r} is not a serial number in hexadecimal")
    return None, serial


def serial_to_pairs(serial: str) -> str:
    """A serial number for people."""
    digits = serial.zfill(len(serial) + len(serial) % 2)
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def still_counts(node: NodeId, shown: PresentedCertificate, revoked: Iterable[Revocation]) -> bool:
    """Whether a certificate of this node still counts."""
    return not any(
        each.serial == shown.serial or (each.node == node and shown.since <= each.at) for each in revoked
    )


def serial_from_number(number: int) -> str:
    """A serial number as it is kept."""
    if number <= 0:
        raise errors.InputInvalid("a certificate has a positive serial number")
    return f"{number:x}"
