"""A gateway asks all voters for news, once a second: so it knows who answers, who votes, and which block is
the newest; and they know that it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from ccn import errors
from ccn.core.ids import NodeId
from ccn.gateway.deeds import values
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion
from ccn.node.rounds.voter_news import HeardNews, VoterNews

log = structlog.get_logger(__name__)

ASK_S = 1.0
_WITHIN_S = 2.0


class NewsRounds:
    """Asks again and again; what was heard last stands in `heard`."""

    def __init__(
        self,
        voters: VoterCalls,
        listed: Callable[[], Collection[NodeId]],
        heard: HeardNews,
        wait_for_others: Callable[[], Awaitable[None]],
    ) -> None:
        """`wait_for_others` returns when there are other voters than before: they are asked at once."""
        self._voters, self._listed, self.heard = voters, listed, heard
        self._wait_for_others = wait_for_others
        self.door = ""
        """Where the door of this gateway is, once it listens."""

    async def watch(self, stop: asyncio.Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            await self.ask_all()
            more = [asyncio.create_task(each) for each in (stop.wait(), self._others_came())]
            await asyncio.wait(more, timeout=ASK_S, return_when=asyncio.FIRST_COMPLETED)
            for task in more:
                task.cancel()

    async def ask_all(self) -> None:
        """Ask all voters once, and take what they tell."""
        asked = list(self._listed())
        told = await asyncio.gather(*map(self._ask_voter, asked))
        self.heard.hear({node: news for node, news in zip(asked, told, strict=True) if news is not None})

    async def check_voter(self) -> None:
        """Raise NoVoter unless one answered just now."""
        if not self.heard.answering:
            raise errors.NoVoter("no voter answers this gateway")

    async def _others_came(self) -> None:
        await self._wait_for_others()

    async def _ask_voter(self, node: NodeId) -> VoterNews | None:
        question = VoterQuestion("news", {"door": self.door}, within_s=_WITHIN_S)
        try:
            news = values.read_value(VoterNews, await self._voters.ask_node(node, question))
            news.check_readable()
        except errors.CCNError as failed:
            log.debug("a voter told no news", node=node, reason=str(failed))
            return None
        return news
