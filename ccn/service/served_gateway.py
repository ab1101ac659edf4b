"""What a gateway consists of: a database to read, the voters that it sees, and doors in front of both.

It has no key that signs, no writer, no instances, no vote and no folder. Whatever is more than reading, the
doors' deeds ask of a voter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass

from ccn import errors, settings
from ccn.certificates import identity
from ccn.certificates.watch import CertificateWatches
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.gateway import readiness, reading_places
from ccn.gateway.accounts.access import ConversationAccess
from ccn.gateway.accounts.known_callers import KnownCallers
from ccn.gateway.accounts.trusted_keys import TrustedKeys
from ccn.gateway.deeds import remote, remote_accounts
from ccn.gateway.deeds.interface import Deeds
from ccn.gateway.deeds.known_hosts import KnownHosts
from ccn.gateway.deeds.news import NewsRounds
from ccn.gateway.deeds.remote_conversations import RemoteConversations
from ccn.gateway.deeds.remote_model import RemoteModel
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion
from ccn.gateway.limiting import Limiter
from ccn.node.rounds.trust import Trust
from ccn.node.rounds.voter_news import HeardNews
from ccn.node.rounds.voter_watch import VoterWatch
from ccn.node.signing import signing_key
from ccn.node.turns.plates import Plates
from ccn.node.views.cluster_status import ClusterStatus
from ccn.peers import client as peers
from ccn.service import clock, servers
from ccn.service.doors import BehindDoors
from ccn.store.connection import pool, roles
from ccn.store.connection.fence import Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedGateway:
    """What a gateway consists of before its doors open."""

    behind: BehindDoors
    watch: VoterWatch
    news: NewsRounds

    def make_parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What has to run beside the doors, until told to stop."""
        stop = self.behind.stop
        return {
            "voters": self.watch.watch(stop),
            "news": self.news.watch(stop),
            "trust": self.watch.trust.watch_register(stop),
            "certificates": self.behind.certificates.watch_files(stop),
        }


@contextlib.asynccontextmanager
async def open_gateway(
    chosen: settings.Settings, stop: asyncio.Event, heard: HeardNews, fence: Fence
) -> AsyncIterator[ServedGateway]:
    """Open what this gateway reads, and its way to the voters."""
    if not chosen.etcd.endpoints:
        raise errors.SettingsInvalid("CCN_ETCD_ENDPOINTS is not set: a gateway finds the voters there")
    name = NodeId(chosen.node.id)
    certificates = CertificateWatches(clock.utc_now, chosen.tls.look_s)
    shown = certificates.add_link(
        "peers", lambda: identity.read_identity(chosen.tls, name, clock.utc_now(), gateway=True)
    )
    servers.watch_databases(chosen.database, certificates)
    async with (
        pool.open(chosen.database, name, fence) as database,
        reading_places.open_places(chosen, database, name, fence) as reading,
        peers.open_client(name, shown.current) as voters,
    ):
        shown.on_change(voters.replace_identity)
        await roles.check_reads_only(database)
        trust = Trust(database, signing_key.check_signature, lambda: heard.rules)
        watch = VoterWatch(trust, voters, servers.watch_etcd(chosen.etcd, certificates))
        calls = VoterCalls(name, voters, watch.list_seen)
        news = NewsRounds(calls, watch.list_seen, heard, voters.wait_for_change)
        yield ServedGateway(
            behind=BehindDoors(
                chosen=chosen,
                stop=stop,
                ready=readiness.Readiness(
                    {
                        "database": lambda: database.value("SELECT 1"),
                        "record": database.check_fence,
                        "voter": news.check_voter,
                    }
                ),
                limiter=Limiter(chosen.limits),
                deeds=_make_deeds(chosen, database, calls, heard),
                plates=Plates(database, chosen.claude),
                reading=reading,
                list_addresses=lambda: heard.doors,
                certificates=certificates,
            ),
            watch=watch,
            news=news,
        )


def _make_deeds(
    chosen: settings.Settings, database: pool.Pool, calls: VoterCalls, heard: HeardNews
) -> Deeds:
    async def load_voters() -> Rules:
        return await remote_accounts.load_heard_voters(heard)

    async def load_status() -> ClusterStatus:
        return await calls.ask(ClusterStatus, VoterQuestion("status"))

    keys = TrustedKeys(database, signing_key.check_signature, load_voters, clock.utc_now)
    callers = KnownCallers(database, chosen.accounts, keys, clock.utc_now)
    requests = remote.RemoteRequests(calls)
    return Deeds(
        accounts=remote_accounts.GatewayAccounts(callers, calls),
        access=ConversationAccess(database, requests),
        conversations=RemoteConversations(calls, KnownHosts(database)),
        loop=remote.RemoteLoop(calls),
        requests=requests,
        model=RemoteModel(calls),
        load_status=load_status,
    )
