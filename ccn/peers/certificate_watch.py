"""What this node shows to the others, read again when its files have changed.

Certificates are short and nodes run on: whoever renews one puts the files in their place, and restarts
nothing. Files that cannot be used, as while they are being replaced, change nothing; the log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from ccn import errors
from ccn.certificates import identity
from ccn.certificates.identity import TlsIdentity
from ccn.core.ids import NodeId

if TYPE_CHECKING:
    from ccn import settings

LOOK_S = 60.0
SOON = timedelta(days=7)
"""A certificate that ends sooner is warned about, once a day."""

log = structlog.get_logger(__name__)

OnIdentityChanged = Callable[[TlsIdentity], Awaitable[None]]


class CertificateWatch:
    """The identity that the files of the settings hold now; None if they name none."""

    def __init__(self, tls: settings.TlsSettings, node: NodeId, now: Callable[[], datetime]) -> None:
        self.identity = identity.read_identity(tls, node, now())
        self._tls, self._node, self._now = tls, node, now
        self._wrong = ""
        self._warned_at: datetime | None = None
        self._warn_before_end()

    async def watch_files(
        self, changed: OnIdentityChanged, stop: asyncio.Event, look_s: float = LOOK_S
    ) -> None:
        """Tell of each change, until told to stop."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), look_s)
            if self.identity is not None and await asyncio.to_thread(self.read_again):
                await changed(self.identity)

    def read_again(self) -> bool:
        """Read the files; whether they hold something else that can be used."""
        wrong, found = "", None
        try:
            found = identity.read_identity(self._tls, self._node, self._now())
        except errors.SettingsInvalid as refused:
            wrong = str(refused)
        if wrong and wrong != self._wrong:
            log.warning("certificate files cannot be used; what was read before goes on", reason=wrong)
        self._wrong = wrong
        renewed = found is not None and found != self.identity
        if renewed:
            self.identity = found
            log.info("certificate renewed", until=f"{self._certificate_end():%Y-%m-%d}")
        self._warn_before_end()
        return renewed

    def _certificate_end(self) -> datetime:
        from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

        assert self.identity is not None
        return inspection.summarise_certificate(self.identity.certificate).until

    def _warn_before_end(self) -> None:
        now = self._now()
        told = self._warned_at is not None and now - self._warned_at < timedelta(days=1)
        if self.identity is None or told or (until := self._certificate_end()) - now > SOON:
            return
        self._warned_at = now
        advice = "renew it (`ccn keys renew`) and put its files in place; this node reads them by itself"
        log.warning("this node's certificate ends soon", until=f"{until:%Y-%m-%d %H:%M} UTC", advice=advice)
