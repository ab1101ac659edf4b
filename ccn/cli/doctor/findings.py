"""What a look found: fine, worth a look, or to be mended before a node starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from ccn import errors


class FindingLevel(StrEnum):
    """How bad it is."""

    OK = "ok"
    LOOK = "look"
    MEND = "mend"


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One thing that was looked at, and what to do about it if it is not as it should be."""

    level: FindingLevel
    about: str
    says: str


def ok(about: str, says: str) -> DoctorFinding:
    """Make a finding that is fine."""
    return DoctorFinding(FindingLevel.OK, about, says)


def look(about: str, says: str) -> DoctorFinding:
    """Make a finding that may be as it is meant."""
    return DoctorFinding(FindingLevel.LOOK, about, says)


def mend(about: str, says: str) -> DoctorFinding:
    """Make a finding with which a node would not start or not work."""
    return DoctorFinding(FindingLevel.MEND, about, says)


def collect_findings(about: str, check: Callable[[], Iterable[DoctorFinding]]) -> list[DoctorFinding]:
    """Run a check; an error of CCN is a finding, too, and says what to do."""
    try:
        return list(check())
    except errors.CCNError as refused:
        return [mend(about, str(refused))]


async def await_findings(about: str, check: Awaitable[Iterable[DoctorFinding]]) -> list[DoctorFinding]:
    """Do the same for a check that asks somebody."""
    try:
        return list(await check)
    except errors.CCNError as refused:
        return [mend(about, str(refused) or type(refused).__name__)]
