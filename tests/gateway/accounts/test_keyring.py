"""Access tokens are signed by nodes: what the database says of their keys makes nobody an admin."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ccn import errors, settings
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.gateway.accounts import tokens
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.keyring import MARGIN, SIGNS, Keyring
from ccn.store.accounts import token_keys
from ccn.store.accounts.users import Tier
from tests.support.gateway import access_tokens
from tests.support.gateway.access_tokens import ONE, THREE, TWO, Forger, said
from tests.support.gateway.accounts_door import PASSWORD, RECHECK_S, Clock, Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRACE = timedelta(minutes=16)


async def refused(door: Door, token: str) -> None:
    with pytest.raises(errors.CredentialInvalid):
        await door.another_node().identify_caller(token)


async def test_whoever_reads_the_database_can_sign_nothing(door: Door) -> None:
    operator = await door.user(Tier.ADMIN)
    good = (await door.accounts.sign_in(operator.name, PASSWORD)).access_token
    assert (await door.another_node().identify_caller(good)).tier is Tier.ADMIN
    headers = {"kid": jwt.get_unverified_header(good)["kid"], "typ": "at+jwt"}
    rows = await door.pool.rows("SELECT * FROM token_keys")
    kept = [value for row in rows for value in row.values() if isinstance(value, bytes)]
    assert kept
    for secret in kept:
        for algorithm in ("HS256", "HS384", "HS512"):
            forged = jwt.encode(said(good), secret.ljust(64, b"\0"), algorithm, headers=headers)
            await refused(door, forged)
        await refused(
            door,
            jwt.encode(said(good), Ed25519PrivateKey.from_private_bytes(secret[:32]), "EdDSA", headers),
        )


async def test_whoever_writes_to_the_database_adds_no_key(door: Door) -> None:
    operator = await door.user(Tier.ADMIN)
    claims = said((await door.accounts.sign_in(operator.name, PASSWORD)).access_token)
    stranger = access_tokens.identity(NodeId("node-9"))
    for node, by in ((ONE, stranger), (NodeId("node-9"), stranger), (ONE, access_tokens.identity(TWO))):
        forger = Forger(tokens.new_pair())
        await access_tokens.publish(door.pool, forger.pair.public, node, by)
        await refused(door, forger.token(claims))
    copied = Forger(tokens.new_pair())
    copying = """
        INSERT INTO token_keys
        SELECT left(encode(sha256($1), 'hex'), 16), node_id, $1, since, until, signature
        FROM token_keys WHERE node_id = 'node-1' LIMIT 1
    """
    await door.pool.rows(copying, copied.pair.public)
    await refused(door, copied.token(claims))
    believed = await Forger.at(door)
    assert (await door.another_node().identify_caller(believed.token(claims))).user == operator.id


def at(door: Door, node: NodeId, votes: list[NodeId] | None, clock: Clock | None = None) -> Accounts:
    """A node that knows these validators, and none if it knows no chain."""

    async def voters() -> Rules | None:
        return None if votes is None else access_tokens.rules(*votes)

    ticking, chosen = clock or door.clock, settings.AccountsSettings(recheck_s=RECHECK_S)
    identity = access_tokens.identity(node)
    keyring = Keyring(door.pool, identity, voters, chosen, ticking.wall, clock=ticking.monotonic)
    return Accounts(door.pool, chosen, door.passwords, keyring, ticking.wall, clock=ticking.monotonic)


async def test_a_node_that_is_no_validator_any_more_loses_what_it_signed(door: Door) -> None:
    ada, votes, clock = await door.user(), [ONE, TWO], Clock()
    here, there = at(door, ONE, votes, clock), at(door, TWO, votes, clock)
    grant = await there.sign_in(ada.name, PASSWORD)
    assert (await here.identify_caller(grant.access_token)).user == ada.id
    votes.remove(TWO)
    clock.ticks += 5 + RECHECK_S  # as often as nodes look
    for node in (here, there):
        with pytest.raises(errors.CredentialInvalid, match="key that is not valid"):
            await node.identify_caller(grant.access_token)
    for ask in (there.renew_grant(grant.refresh_token), there.sign_in(ada.name, PASSWORD)):
        with pytest.raises(errors.Unavailable, match="ask another node"):
            await ask
    renewed = await here.renew_grant(grant.refresh_token)  # it was not spent in vain
    assert (await here.identify_caller(renewed.access_token)).user == ada.id


async def test_a_node_that_knows_no_chain_believes_itself_alone(door: Door) -> None:
    ada, alone, other = await door.user(), at(door, ONE, None), at(door, TWO, None)
    token = (await alone.sign_in(ada.name, PASSWORD)).access_token
    assert (await alone.identify_caller(token)).user == ada.id
    with pytest.raises(errors.CredentialInvalid):
        await other.identify_caller(token)
    assert (await at(door, TWO, [ONE, TWO]).identify_caller(token)).user == ada.id  # one that knows it does


async def test_every_key_that_an_operator_ends_is_followed_by_another(door: Door) -> None:
    ada, clock = await door.user(), Clock()
    here, there = at(door, ONE, [ONE, TWO], clock), at(door, TWO, [ONE, TWO], clock)
    first = (await there.sign_in(ada.name, PASSWORD)).access_token
    mine = (await here.sign_in(ada.name, PASSWORD)).access_token
    await token_keys.end_keys(door.pool, GRACE)
    second = (await there.sign_in(ada.name, PASSWORD)).access_token
    for token in (first, second):
        assert (await here.identify_caller(token)).user == ada.id
    await token_keys.end_keys(door.pool, timedelta(0), TWO)
    clock.now = access_tokens.now()
    clock.ticks += 5 + RECHECK_S
    for token in (first, second):
        with pytest.raises(errors.CredentialInvalid, match="key that is not valid"):
            await here.identify_caller(token)
    assert (await here.identify_caller(mine)).user == ada.id
    third = (await there.sign_in(ada.name, PASSWORD)).access_token
    assert (await here.identify_caller(third)).user == ada.id


async def test_a_key_signs_for_a_day_and_counts_until_its_last_token_has_expired(door: Door) -> None:
    ada, clock = await door.user(), Clock()
    node = at(door, ONE, [ONE, TWO], clock)

    async def signed_by() -> str:
        token = (await node.sign_in(ada.name, PASSWORD)).access_token
        return str(jwt.get_unverified_header(token)["kid"])

    first = await signed_by()
    clock.forward(SIGNS.total_seconds() - 60)
    assert await signed_by() == first
    clock.forward(120)
    second = await signed_by()
    assert second != first
    found = {each.key.name: each for each in await token_keys.list_valid(door.pool)}
    assert found[first].is_valid(clock.wall())
    assert not found[first].is_valid(clock.wall() + timedelta(minutes=15) + MARGIN)
    assert found[second].key.node == ONE


async def test_a_token_counts_at_other_nodes_the_moment_it_was_signed(door: Door) -> None:
    ada, votes = await door.user(), [ONE, TWO, THREE]
    nodes = [at(door, each, votes) for each in votes]
    for here in nodes:
        token = (await here.sign_in(ada.name, PASSWORD)).access_token
        assert [(await there.identify_caller(token)).user for there in nodes] == [ada.id] * 3


@pytest.mark.parametrize("name", ["", "0" * 16, "x" * 4_000, "\x00", "\ud800", "' OR 1=1 --"])
async def test_a_made_up_name_of_a_key_is_none(door: Door, name: str) -> None:
    await refused(
        door,
        jwt.encode(
            {"sub": "x"}, tokens.new_pair().private, "EdDSA", headers={"kid": name, "typ": "at+jwt"}
        ),
    )


async def test_many_who_sign_in_at_once_get_tokens_of_one_key(door: Door) -> None:
    ada, node = await door.user(), at(door, THREE, [THREE])
    grants = await asyncio.gather(*[node.sign_in(ada.name, PASSWORD) for _ in range(6)])
    assert len({jwt.get_unverified_header(each.access_token)["kid"] for each in grants}) == 1
