"""Streams that are open at a node, through whatever door: how many each has, and how long they may last.

A credential is looked at when a stream begins, and the stream can outlive it by far. So once in `recheck_s`
this asks about all of them together, in a statement or two, and ends those of a user who was disabled, of a
key that was revoked, and of a sign-in that was ended or whose password is another one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import structlog

from ccn import errors, settings
from ccn.gateway import limiting
from ccn.gateway.accounts.access import Caller
from ccn.node.spending.concurrency import ConcurrencyLimit, ConcurrencySlot
from ccn.store.accounts import credential_checks
from ccn.store.accounts.credential_checks import Credential
from ccn.store.connection.pool import Pool

_log = structlog.get_logger(__name__)

_LEAST_S = 0.1
_AT_ONCE = (
    "of your streams and sockets are open at this node (CCN_LIMITS_STREAMS): end one, or ask another node"
)
_ENDED = "the account or the credential behind this stream has ended"


class OpenStream:
    """One stream. `ended` fails, saying why, when it must end though nothing else has ended it."""

    __slots__ = ("_place", "_streams", "ended", "ground")

    def __init__(self, streams: OpenStreams, place: ConcurrencySlot, ground: Credential | None) -> None:
        self._streams, self._place, self.ground = streams, place, ground
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """It is over; saying it twice changes nothing."""
        self._place.leave()
        self._streams.forget(self)

    def __enter__(self) -> OpenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OpenStreams:
    """All that are open."""

    def __init__(
        self, pool: Pool, chosen: settings.AccountsSettings, limits: settings.LimitsSettings
    ) -> None:
        self._pool, self._every_s = pool, max(_LEAST_S, chosen.recheck_s)
        self.idle_s = limits.socket_idle_s
        """How long a socket may be silent."""
        self._of_one = ConcurrencyLimit(limits.streams, 0, errors.TooManyStreams, _AT_ONCE)
        self._open = dict[Credential, set[OpenStream]]()

    def open_stream(self, caller: Caller, address: str = "") -> OpenStream:
        """One more of this caller's, or TooManyStreams."""
        place = self._of_one.take_slot_now(caller.user or limiting.counting_key(caller, address))
        opened = OpenStream(self, place, caller.ground)
        if caller.ground is not None:
            self._open.setdefault(caller.ground, set()).add(opened)
        return opened

    @contextlib.contextmanager
    def open_until_answered(self, caller: Caller) -> Iterator[OpenStream]:
        """One that the answer closes, which the block makes; if it makes none, it is closed at once."""
        opened = self.open_stream(caller)
        try:
            yield opened
        except BaseException:
            opened.close()
            raise

    async def watch_credentials(self, stop: asyncio.Event) -> None:
        """Look at all of them again and again, until told to stop."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await stop.wait()
            await self.end_fallen()

    def forget(self, opened: OpenStream) -> None:
        """It is not looked at any more."""
        if opened.ground is not None and opened in (these := self._open.get(opened.ground, set())):
            these.remove(opened)
            if not these:
                del self._open[opened.ground]

    async def end_fallen(self) -> None:
        """End those that may not go on."""
        try:
            fallen = await credential_checks.find_ended(self._pool, self._open.keys())
        except errors.CCNError as failed:
            # They go on: they were let in, and nobody says otherwise.
            _log.warning("open streams could not be looked at", reason=type(failed).__name__)
            return
        for opened in [each for ground in fallen for each in self._open.get(ground, ())]:
            if not opened.ended.done():
                opened.ended.set_exception(errors.CredentialInvalid(_ENDED))
                opened.ended.exception()  # whoever is just leaving does not look at it
