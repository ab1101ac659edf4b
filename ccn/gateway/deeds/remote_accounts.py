"""Accounts at a gateway: it checks credentials itself, and has a voter give tokens out and end them.

A gateway holds no key that signs. What it checks with are the public halves that nodes published, under the
signatures of validators whom the voters name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from ccn import errors
from ccn.core.chain.rules import Rules
from ccn.gateway.accounts.access import Caller
from ccn.gateway.accounts.accounts import Grant
from ccn.gateway.accounts.known_callers import KnownCallers
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion
from ccn.node.rounds.voter_news import HeardNews


@dataclass(frozen=True, slots=True)
class GatewayAccounts:
    """`AccountDesk` of a gateway."""

    callers: KnownCallers
    voters: VoterCalls

    async def sign_in(self, name: str, password: str, network: str = "") -> Grant:
        """Have a voter exchange a password for tokens."""
        body = {"name": name, "password": password, "network": network}
        return await self.voters.ask(Grant, VoterQuestion("sign_in", body))

    async def renew_grant(self, refresh_token: str) -> Grant:
        """Have a voter exchange a refresh token: asked twice, it would end the sign-in."""
        return await self.voters.ask(Grant, VoterQuestion("renew", {"token": refresh_token}, repeats=False))

    async def end_sign_in(self, token: str) -> UUID | None:
        """Have a voter end the sign-in behind a token; here it counts no more from now on."""
        ended = await self.voters.ask(str, VoterQuestion("sign_out", {"token": token}))
        if not ended:
            return None
        self.callers.forget_family(UUID(ended))
        return UUID(ended)

    async def identify_caller(self, credential: str) -> Caller:
        """Find the caller, who carries the credential: voters check it again."""
        return replace(await self.callers.identify_caller(credential), shown=credential)


async def load_heard_voters(heard: HeardNews) -> Rules:
    """Who votes, as voters told this gateway."""
    if heard.rules is None:
        raise errors.NoVoter("no voter has told this gateway yet whose tokens count")
    return heard.rules
