"""What a node does besides answering: errands, the requests of operators, and its part in rounds."""

from __future__ import annotations

from collections.abc import Coroutine

from ccn.certificates import identity
from ccn.core.ids import NodeId
from ccn.gateway.grpc import peer as peer_door
from ccn.node.operators import execution
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.peer_answers import GatewayDoor, PeerAnswers
from ccn.node.rounds.presence import NodeDoors
from ccn.node.upkeep import errands
from ccn.service import clock
from ccn.service.served_node import ServedNode


def make_errand_parts(node: ServedNode) -> dict[str, Coroutine[None, None, None]]:
    """What a node does by and by, and what operators ask for."""
    database, writer = node.database, node.writer
    takes_on = node.membership.accepts_new_work if node.membership is not None else _always_take_on
    handlers = execution.node_handlers(database, writer)
    handlers |= {execution.RELEASE: execution.release_handler(node.instances.restoration)}
    return {
        "keeping": errands.run_errands(
            database, writer, node.chosen.retention, clock.utc_now, takes_on, node.stop
        ),
        "operating": execution.run_requests(database, writer, handlers, takes_on, node.stop),
    }


def make_round_parts(
    node: ServedNode, membership: Membership, http: str, gateways: GatewayDoor
) -> dict[str, Coroutine[None, None, None]]:
    """The door for other nodes, and what a node does in rounds."""
    chosen, stop = node.chosen, node.stop
    answering = PeerAnswers(membership, node.instances.forwarding.answer_request, gateways)
    own = NodeId(chosen.node.id)
    certificate = node.certificates.add_link(
        "peers", lambda: identity.read_identity(chosen.tls, own, clock.utc_now())
    )
    door = peer_door.PeerServer(answering, certificate.current)
    port = door.listen(chosen.peers)

    certificate.on_change(door.show_identity)
    certificate.on_change(membership.peers.replace_identity)
    here = NodeDoors(http, peer_door.advertised_address(chosen.peers, port), clock.now_us())
    return {
        "peers": door.serve(stop, node.grace_s),
        "trust": membership.presence.trust.watch_register(stop),
        "membership": membership.take_part(here, stop),
    }


async def _always_take_on() -> bool:
    """A node without a place in a cluster has nobody to leave its work to."""
    return True
