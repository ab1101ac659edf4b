"""Protocols: what nodes say to each other and write into the record, by one number.

    1   the rules do not name a protocol
    2   the rules name the protocol in force, so that a program that does not speak it can say so

A program speaks a range of them. The rules of the chain say which one is in force. A block raises it once
every validator speaks the higher one and wants it; it never goes down. Until then all speak the lower one,
and each node may go back to the program it had. So that going back one release always works, a node by
itself wants only what the release before speaks as well (`SHARED`). An operator may want more, sooner.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn import errors

LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class ProtocolRange:
    """The protocols that a program speaks, from the lowest to the highest."""

    lowest: int
    highest: int

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if not 1 <= self.lowest <= self.highest <= LIMIT:
            raise errors.InputInvalid(f"no program speaks the protocols {self.lowest} to {self.highest}")

    def __contains__(self, protocol: int) -> bool:
        """Whether the program speaks this one."""
        return self.lowest <= protocol <= self.highest

    def __str__(self) -> str:
        """Both ends, or the only one."""
        return str(self.lowest) if self.lowest == self.highest else f"{self.lowest}-{self.highest}"


FIRST = ProtocolRange(1, 1)
"""What a node speaks that does not say what it speaks: its program is from before there were several."""
SPOKEN = ProtocolRange(1, 2)
"""What this program speaks."""
SHARED = 1
"""The highest that the release before this one speaks as well."""


def describe_gap(in_force: int, spoken: ProtocolRange) -> str:
    """Why a program takes no part where it does not speak the protocol in force."""
    age = "newer" if in_force > spoken.highest else "older"
    return f"the cluster speaks protocol {in_force}, and this program {spoken}: run the {age} CCN for it"
