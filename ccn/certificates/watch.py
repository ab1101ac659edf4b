"""Reads the certificate files of every link again when they have changed.

Certificates are short and nodes run for long. Whoever renews one puts its files in place and restarts
nothing. Files that cannot be used, as while they are being replaced, change nothing: what was read before
goes on, the log says so once, and a metric until the files are good again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from ccn import errors, metrics
from ccn.certificates import identity
from ccn.certificates.identity import TlsIdentity

if TYPE_CHECKING:
    from ccn import settings

LOOK_S = 10.0
SOON = timedelta(days=7)
"""How long before its end a certificate is warned about, once a day."""
_DAY = timedelta(days=1)

log = structlog.get_logger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ShownPems(Protocol):
    """What was read of a link, in PEM."""

    @property
    def certificate(self) -> bytes | None:
        """What this end shows; None if only the other one shows something."""


S = TypeVar("S", bound=ShownPems)


class CertificateWatch(Generic[S]):
    """Keeps what the files of one link hold; None if the settings name none."""

    def __init__(self, link: str, read: Callable[[], S | None], now: Callable[[], datetime]) -> None:
        """`read` raises `SettingsInvalid` where files cannot be used; the first time it ends the start."""
        self.link = link
        self.current = read()
        self._read = read
        self._now = now
        self._told: list[Callable[[S], Awaitable[None]]] = []
        self._not_shown: S | None = None
        """What could be read, but not be shown; that is tried again at every look."""
        self._last_refusal = ""
        self._warned_at: datetime | None = None
        self._tell_days_left()

    def on_change(self, show: Callable[[S], Awaitable[None]]) -> None:
        """Have `show` called with what the files hold whenever that has changed.

        It may raise `SettingsInvalid` as `read` may: then what was read before stays.
        """
        self._told.append(show)

    async def watch_files(self, stop: asyncio.Event, look_s: float = LOOK_S) -> None:
        """Look at the files regularly and hand on each change, until `stop`."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await stop.wait()
            if self.current is not None and not stop.is_set():
                await self._look_again()

    async def _look_again(self) -> None:
        before = self.current
        if not await asyncio.to_thread(self.read_again) or self.current is None:
            return
        try:
            await asyncio.gather(*(show(self.current) for show in self._told))
        except errors.SettingsInvalid as refused:
            self._not_shown, self.current = self.current, before
            self._note_refusal(str(refused))
        else:
            self._not_shown = None
            self._note_refusal("")

    def read_again(self) -> bool:
        """Read the files. Return whether they contain something else that can be used."""
        refusal, read = "", None
        try:
            read = self._read()
        except errors.SettingsInvalid as refused:
            refusal = str(refused)
        renewed = read is not None and read != self.current
        tried_before = renewed and read == self._not_shown
        if not tried_before:
            self._note_refusal(refusal)
        if renewed:
            self.current = read
        if renewed and not tried_before:
            log.info("certificate renewed", link=self.link, until=self._describe_end())
        self._tell_days_left()
        return renewed

    def _note_refusal(self, refusal: str) -> None:
        metrics.links.set_certificate_refused(self.link, refused=bool(refusal))
        if refusal and refusal != self._last_refusal:
            words = "certificate files cannot be used; what was read before goes on"
            log.warning(words, link=self.link, reason=refusal)
        self._last_refusal = refusal

    def _describe_end(self) -> str:
        shown = self.current is not None and self.current.certificate is not None
        return f"{self._find_end():%Y-%m-%d}" if shown else "nothing is shown here"

    def _find_end(self) -> datetime:
        from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

        assert self.current is not None
        assert self.current.certificate is not None
        return inspection.find_end(self.current.certificate)

    def _tell_days_left(self) -> None:
        """Show how long the certificate lasts, and warn once a day when that is not long."""
        if self.current is None or self.current.certificate is None:
            return
        now, until = self._now(), self._find_end()
        metrics.links.set_certificate_days_left(self.link, (until - now) / _DAY)
        warned_today = self._warned_at is not None and now - self._warned_at < _DAY
        if until - now > SOON or warned_today:
            return
        self._warned_at = now
        advice = "renew it (`ccn keys renew`) and put its files in place; this node reads them by itself"
        words = "a certificate of this node ends soon"
        log.warning(words, link=self.link, until=f"{until:%Y-%m-%d %H:%M} UTC", advice=advice)


class CertificateWatches:
    """All links of a node, each looked at by itself: who hands one on may take its time."""

    def __init__(self, now: Callable[[], datetime] = _utc_now, look_s: float = LOOK_S) -> None:
        self._now = now
        self._look_s = look_s
        self._watches: list[CertificateWatch[ShownPems]] = []

    def add_link(self, link: str, read: Callable[[], S | None]) -> CertificateWatch[S]:
        """Read the files of a link, and again whenever they change."""
        watch = CertificateWatch(link, read, self._now)
        self._watches.append(watch)  # type: ignore[arg-type]  # nobody but its owner gives it anything
        return watch

    def add_door(self, link: str, door: settings.DoorTls) -> CertificateWatch[TlsIdentity]:
        """Do that for a door for clients."""
        files = identity.door_files(link, door)
        return self.add_link(link, lambda: identity.read_pair(files, self._now()))

    async def watch_files(self, stop: asyncio.Event) -> None:
        """Look at the files of all links, until `stop`."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(watch.watch_files(stop, self._look_s), name=f"certificate {watch.link}")
            await stop.wait()
