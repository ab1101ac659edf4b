"""The streams that are open at a node, at all doors: how many a caller may have, and when one has to end.

A credential is checked when a stream begins, but the stream can outlive it by far. So every `recheck_s`
seconds this checks the credentials of all streams together, in a statement or two. It ends the streams of a
disabled user, of a revoked key, and of a sign-in that was ended or whose password was changed.
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

_SHORTEST_RECHECK_S = 0.1
_AT_ONCE = (
    "of your streams and sockets are open at this node (CCN_LIMITS_STREAMS): end one, or ask another node"
)
_ENDED = "the account or the credential behind this stream has ended"


class OpenStream:
    """One stream. `ended` fails with the reason when the stream has to end because its credential did."""

    __slots__ = ("_slot", "_streams", "credential", "ended")

    def __init__(self, streams: OpenStreams, slot: ConcurrencySlot, credential: Credential | None) -> None:
        self._streams, self._slot, self.credential = streams, slot, credential
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Give the slot back. Closing a stream twice does no harm."""
        self._slot.leave()
        self._streams.forget_stream(self)

    def __enter__(self) -> OpenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OpenStreams:
    """All open streams of a node."""

    def __init__(
        self, pool: Pool, accounts: settings.AccountsSettings, limits: settings.LimitsSettings
    ) -> None:
        self._pool, self._recheck_s = pool, max(_SHORTEST_RECHECK_S, accounts.recheck_s)
        self.idle_s = limits.socket_idle_s
        """How long a socket may be silent."""
        self._per_caller = ConcurrencyLimit(limits.streams, 0, errors.TooManyStreams, _AT_ONCE)
        self._open = dict[Credential, set[OpenStream]]()

    def open_stream(self, caller: Caller, address: str = "") -> OpenStream:
        """Open one more stream of this caller, or raise TooManyStreams."""
        slot = self._per_caller.take_slot_now(caller.user or limiting.counting_key(caller, address))
        stream = OpenStream(self, slot, caller.credential)
        if caller.credential is not None:
            self._open.setdefault(caller.credential, set()).add(stream)
        return stream

    @contextlib.contextmanager
    def open_until_answered(self, caller: Caller) -> Iterator[OpenStream]:
        """Open a stream for the answer that the block makes. The answer closes it; a failing block too."""
        stream = self.open_stream(caller)
        try:
            yield stream
        except BaseException:
            stream.close()
            raise

    async def watch_credentials(self, stop: asyncio.Event) -> None:
        """Check the credentials of all streams again and again, until `stop`."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._recheck_s):
                    await stop.wait()
            await self.end_invalid_streams()

    def forget_stream(self, stream: OpenStream) -> None:
        """Stop checking the credential of this stream."""
        credential = stream.credential
        if credential is not None and stream in (streams := self._open.get(credential, set())):
            streams.remove(stream)
            if not streams:
                del self._open[credential]

    async def end_invalid_streams(self) -> None:
        """End the streams whose credentials have ended."""
        try:
            ended = await credential_checks.find_ended(self._pool, self._open.keys())
        except errors.CCNError as failed:
            # The streams go on: their credentials were valid, and nothing says that they have ended.
            _log.warning("open streams could not be checked", reason=type(failed).__name__)
            return
        for stream in [each for credential in ended for each in self._open.get(credential, ())]:
            if not stream.ended.done():
                stream.ended.set_exception(errors.CredentialInvalid(_ENDED))
                stream.ended.exception()  # a stream that is closing anyway never reads it
