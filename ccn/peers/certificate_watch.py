"""Reads this node's certificate files again when they have changed.

Certificates are short and nodes run for long. Whoever renews one puts its files in place and restarts
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
"""How long before its end a certificate is warned about, once a day."""

log = structlog.get_logger(__name__)

OnIdentityChanged = Callable[[TlsIdentity], Awaitable[None]]


class CertificateWatch:
    """Keeps the identity that the files of the settings name; None if they name none."""

    def __init__(self, tls: settings.TlsSettings, node: NodeId, now: Callable[[], datetime]) -> None:
        self.identity = identity.read_identity(tls, node, now())
        self._tls = tls
        self._node = node
        self._now = now
        self._last_refusal = ""
        self._warned_at: datetime | None = None
        self._warn_before_end()

    async def watch_files(
        self, changed: OnIdentityChanged, stop: asyncio.Event, look_s: float = LOOK_S
    ) -> None:
        """Look at the files regularly and hand on each change, until `stop`."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), look_s)
            if self.identity is not None and await asyncio.to_thread(self.read_again):
                await changed(self.identity)

    def read_again(self) -> bool:
        """Read the files. Return whether they contain another identity that can be used."""
        refusal, read = "", None
        try:
            read = identity.read_identity(self._tls, self._node, self._now())
        except errors.SettingsInvalid as refused:
            refusal = str(refused)
        if refusal and refusal != self._last_refusal:
            log.warning("certificate files cannot be used; what was read before goes on", reason=refusal)
        self._last_refusal = refusal
        renewed = read is not None and read != self.identity
        if renewed:
            self.identity = read
            log.info("certificate renewed", until=f"{self._certificate_end():%Y-%m-%d}")
        self._warn_before_end()
        return renewed

    def _certificate_end(self) -> datetime:
        from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

        assert self.identity is not None
        return inspection.summarise_certificate(self.identity.certificate).until

    def _warn_before_end(self) -> None:
        now = self._now()
        warned_today = self._warned_at is not None and now - self._warned_at < timedelta(days=1)
        if self.identity is None or warned_today or (until := self._certificate_end()) - now > SOON:
            return
        self._warned_at = now
        advice = "renew it (`ccn keys renew`) and put its files in place; this node reads them by itself"
        log.warning("this node's certificate ends soon", until=f"{until:%Y-%m-%d %H:%M} UTC", advice=advice)
