"""Users, API keys and what signing in leaves behind: what has ended stays ended."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from ccn import errors
from ccn.core.identity.token_key import TokenKey
from ccn.core.ids import NodeId, UserId
from ccn.core.ledger import commitment
from ccn.core.ledger.signed import Signed
from ccn.store.accounts import api_keys, sign_ins, token_keys, users
from ccn.store.accounts.api_keys import NewApiKey
from ccn.store.accounts.sign_ins import RefreshToken, RenewedSignIn, ReusedToken, UnknownToken
from ccn.store.accounts.users import Tier, User
from ccn.store.operators import requests

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

SOON = timedelta(minutes=5)


def soon() -> datetime:
    return datetime.now(UTC) + SOON


async def user(store: Store, tier: Tier = Tier.USER, name: str | None = None) -> User:
    named = name if name is not None else f"user {secrets.token_hex(8)}"
    return await users.add_user(store.pool, UserId(store.new_id()), named, tier, "hash")


async def key(store: Store, owner: User, **changes: object) -> bytes:
    secret = secrets.token_bytes(32)
    wanted: dict[str, object] = {
        "id": store.new_id(),
        "user": owner.id,
        "name": "test",
        "prefix": f"ccn_{secrets.token_hex(4)}",
        "hash": secret,
        "tier": owner.tier,
    }
    await api_keys.keep_key(store.pool, NewApiKey(**(wanted | changes)))  # type: ignore[arg-type]
    return secret


async def family(store: Store, owner: User) -> tuple[bytes, UUID]:
    first, named = secrets.token_bytes(32), store.new_id()
    refresh = RefreshToken(first, named, owner.id, owner.generation, soon())
    await sign_ins.begin_sign_in(store.pool, refresh)
    return first, named


def test_a_tier_reaches_itself_and_what_is_below() -> None:
    reached = [[one.reaches(other) for other in Tier] for one in Tier]
    assert reached == [[True, False, False], [True, True, False], [True, True, True]]
    assert users.lesser_tier(Tier.ADMIN, Tier.USER) is users.lesser_tier(Tier.USER, Tier.ADMIN) is Tier.USER


async def test_a_name_is_taken_once_however_it_is_written(shared: Store) -> None:
    made = await user(shared, name="Zoë")
    for same in ("zoë", "ZOË", " Zoë ", "Zoe\u0308"):
        with pytest.raises(errors.Conflict):
            await user(shared, name=same)
        assert await users.load_user(shared.pool, same) == made
    with pytest.raises(errors.NotFound):
        await users.load_user(shared.pool, "zoe")


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "a\x00b", "a\u202eb", "x" * 201])
async def test_a_name_nobody_could_read_is_refused(shared: Store, bad: str) -> None:
    with pytest.raises(errors.InputInvalid):
        await user(shared, name=bad)


async def test_the_first_admin_is_made_once_however_many_try(store: Store) -> None:
    made = await asyncio.gather(
        *[users.add_first_user(store.pool, UserId(store.new_id()), f"admin-{n}", "hash") for n in range(5)]
    )
    (first,) = [each for each in made if each is not None]
    assert first.tier is Tier.ADMIN
    assert await users.list_users(store.pool) == [first]


async def test_a_new_password_and_a_ban_end_what_was_given_before(shared: Store) -> None:
    made = await user(shared)
    changed = await users.set_password(shared.pool, made.name, "another")
    disabled = await users.disable_user(shared.pool, made.name)
    again = await users.disable_user(shared.pool, made.name)
    enabled = await users.enable_user(shared.pool, made.name)
    generations = [each.generation for each in (made, changed, disabled, again, enabled)]
    assert generations == [1, 2, 3, 3, 3]
    assert (again.disabled_at, enabled.disabled_at) == (disabled.disabled_at, None)
    for change in (users.disable_user, users.enable_user):
        with pytest.raises(errors.NotFound):
            await change(shared.pool, "nobody")


async def test_a_key_stands_until_it_is_revoked_expires_or_its_user_is_disabled(shared: Store) -> None:
    owner, now = await user(shared), datetime.now(UTC)
    plain, short = await key(shared, owner), await key(shared, owner, expires_at=soon())
    found = [await api_keys.find_key(shared.pool, each) for each in (plain, short)]
    assert [each is not None and each.is_valid(now) for each in found] == [True, True]
    assert [each is not None and each.is_valid(now + 2 * SOON) for each in found] == [True, False]
    revoked = await api_keys.revoke_key(shared.pool, found[0].prefix if found[0] else "")
    assert not revoked.is_valid(now)
    assert (await api_keys.revoke_key(shared.pool, str(revoked.id))).revoked_at == revoked.revoked_at
    await users.disable_user(shared.pool, owner.name)
    banned = await api_keys.find_key(shared.pool, short)
    assert banned is not None
    assert not banned.is_valid(now)
    assert {each.prefix for each in await api_keys.list_keys(shared.pool, owner.name)} == {
        revoked.prefix,
        banned.prefix,
    }
    assert await api_keys.find_key(shared.pool, bytes(32)) is None
    with pytest.raises(errors.NotFound):
        await api_keys.revoke_key(shared.pool, "ccn_nothing")


async def test_a_refresh_token_is_exchanged_for_the_next_one(shared: Store) -> None:
    owner = await user(shared)
    (first, named), second, third = await family(shared, owner), bytes([1]) * 32, bytes([2]) * 32
    assert await sign_ins.renew_sign_in(shared.pool, first, second, SOON) == RenewedSignIn(owner, named)
    assert await sign_ins.renew_sign_in(shared.pool, second, third, SOON) == RenewedSignIn(owner, named)
    assert await sign_ins.renew_sign_in(shared.pool, bytes([9]) * 32, first, SOON) == UnknownToken()


async def test_a_refresh_token_shown_twice_ends_its_family_and_no_other(shared: Store) -> None:
    owner = await user(shared)
    (first, named), (other, _) = await family(shared, owner), await family(shared, owner)
    second = secrets.token_bytes(32)
    await sign_ins.renew_sign_in(shared.pool, first, second, SOON)
    assert await users.active_user(shared.pool, owner.id, named) == owner
    assert await sign_ins.renew_sign_in(shared.pool, first, secrets.token_bytes(32), SOON) == ReusedToken(
        named
    )
    assert await users.active_user(shared.pool, owner.id, named) is None
    assert (
        await sign_ins.renew_sign_in(shared.pool, second, secrets.token_bytes(32), SOON) == UnknownToken()
    )
    assert isinstance(
        await sign_ins.renew_sign_in(shared.pool, other, secrets.token_bytes(32), SOON), RenewedSignIn
    )


async def test_of_many_that_show_a_refresh_token_at_once_one_gets_the_next_and_the_family_ends(
    shared: Store,
) -> None:
    first, named = await family(shared, await user(shared))
    outcomes = await asyncio.gather(
        *[sign_ins.renew_sign_in(shared.pool, first, secrets.token_bytes(32), SOON) for _ in range(6)]
    )
    assert sum(isinstance(each, RenewedSignIn) for each in outcomes) == 1
    assert outcomes.count(ReusedToken(named)) == 5
    alive = "SELECT count(*) FROM refresh_tokens WHERE family = $1 AND revoked_at IS NULL"
    assert await shared.pool.value(alive, named) == 0


EXPIRE = "UPDATE refresh_tokens SET expires_at = clock_timestamp() WHERE user_id = $1"


async def test_a_refresh_token_ends_with_its_time_its_user_and_its_password(shared: Store) -> None:
    timed, changed, banned = [await user(shared) for _ in range(3)]
    short, _ = await family(shared, timed)
    old, _ = await family(shared, changed)
    barred, _ = await family(shared, banned)
    await users.set_password(shared.pool, changed.name, "another")
    await users.disable_user(shared.pool, banned.name)
    await shared.pool.value(EXPIRE, timed.id)
    for each in (short, old, barred):
        assert (
            await sign_ins.renew_sign_in(shared.pool, each, secrets.token_bytes(32), SOON) == UnknownToken()
        )
    await family(shared, timed)
    kept = await shared.pool.value("SELECT count(*) FROM refresh_tokens WHERE user_id = $1", timed.id)
    assert kept == 1  # what expired is forgotten with the next sign-in


async def published(store: Store, node: str = "node-1", lasts_s: int = 3_600) -> str:
    at = int(datetime.now(UTC).timestamp())
    made = TokenKey(NodeId(node), secrets.token_bytes(32), at, at + lasts_s)
    await token_keys.publish_key(store.pool, Signed(made, bytes(64)))
    return made.name


async def test_a_key_that_was_ended_counts_for_its_grace_and_no_longer(store: Store) -> None:
    first, second = await published(store), await published(store, "node-2")
    assert {each.key.name for each in await token_keys.list_valid(store.pool)} == {first, second}
    assert await token_keys.end_keys(store.pool, SOON, NodeId("node-2")) == [(second, "node-2")]
    assert await token_keys.end_keys(store.pool, 2 * SOON, NodeId("node-2")) == []
    found, now = (
        {each.key.name: each for each in await token_keys.list_valid(store.pool)},
        datetime.now(UTC),
    )
    assert [found[name].is_valid(now) for name in (first, second)] == [True, True]
    assert [found[name].is_valid(now + 2 * SOON) for name in (first, second)] == [True, False]
    assert len(await token_keys.end_keys(store.pool, timedelta(0))) == 2
    assert not any(each.is_valid(datetime.now(UTC)) for each in await token_keys.list_valid(store.pool))


async def test_a_key_is_shown_as_it_was_signed_until_it_has_run_out(store: Store) -> None:
    at = int(datetime.now(UTC).timestamp())
    made = Signed(TokenKey(NodeId("node-1"), secrets.token_bytes(32), at, at + 60), secrets.token_bytes(64))
    over = Signed(TokenKey(NodeId("node-1"), secrets.token_bytes(32), at - 60, at), bytes(64))
    for each in (made, over):
        await token_keys.publish_key(store.pool, each)
    assert [each.said for each in await token_keys.list_valid(store.pool)] == [made]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE users SET generation = generation - 1",
        "UPDATE api_keys SET revoked_at = NULL",
        "UPDATE api_keys SET expires_at = expires_at + interval '1 day'",
        "UPDATE api_keys SET expires_at = NULL",
        "UPDATE refresh_tokens SET spent_at = NULL",
        "UPDATE refresh_tokens SET revoked_at = NULL",
        "UPDATE refresh_tokens SET expires_at = expires_at + interval '1 day'",
        "UPDATE token_keys SET ended_at = NULL",
        "UPDATE token_keys SET ended_at = ended_at + interval '1 day'",
        "UPDATE token_keys SET until = until + interval '1 day'",
        "UPDATE token_keys SET node_id = 'node-2'",
    ],
)
async def test_the_database_lets_nothing_that_ended_begin_again(
    direct: asyncpg.Connection[asyncpg.Record], sql: str
) -> None:
    await direct.execute(
        """
        INSERT INTO users (id, name, tier, generation) VALUES (gen_random_uuid(), 'x', 'user', 2);
        INSERT INTO api_keys (id, user_id, name, prefix, hash, tier, expires_at, revoked_at)
        SELECT id, id, 'k', 'ccn_12345678', sha256('k'), 'user', now() + interval '1 day', now() FROM users
        WHERE name = 'x';
        INSERT INTO refresh_tokens (hash, family, user_id, generation, expires_at, spent_at, revoked_at)
        SELECT sha256('r'), id, id, 2, now() + interval '1 day', now(), now() FROM users WHERE name = 'x';
        INSERT INTO token_keys (name, node_id, public_key, since, until, signature, ended_at)
        SELECT left(encode(sha256(k), 'hex'), 16), 'node-1', k, now(), now() + interval '1 day', k || k,
               now()
        FROM (SELECT decode(repeat('00', 32), 'hex')) AS made (k);
        """
    )
    with pytest.raises(asyncpg.PostgresError) as refused:
        await direct.execute(sql)
    assert refused.value.sqlstate == "CCN01"


async def test_no_secret_of_a_key_is_kept(shared: Store) -> None:
    secret = "ccn_" + secrets.token_urlsafe(32)
    await key(shared, await user(shared), hash=hashlib.sha256(secret.encode()).digest(), prefix=secret[:12])
    dump = await shared.pool.value("SELECT string_agg(k::text, ' ') FROM api_keys k")
    assert secret not in dump
    assert secret[:12] in dump


async def noted(store: Store) -> list[tuple[str, str]]:
    """What the database noted, oldest first: who and what."""
    rows = await store.pool.rows("SELECT asked_by, body FROM operator_requests ORDER BY asked_at")
    return [(row["asked_by"], row["body"]["action"]) for row in rows]


async def test_every_change_of_accounts_is_left_to_be_sealed_with_whoever_made_it(store: Store) -> None:
    owner = await users.add_user(store.pool, UserId(store.new_id()), "Zoë", Tier.ADMIN, "hash", "ann")
    await users.disable_user(store.pool, "zoë", "ann")
    await users.disable_user(store.pool, "zoë", "ann")
    await users.enable_user(store.pool, "zoë", "bob")
    await users.set_password(store.pool, "zoë", "other", "bob")
    new = NewApiKey(
        store.new_id(), owner.id, "billing", "ccn_prefix", secrets.token_bytes(32), Tier.USER, soon()
    )
    await api_keys.keep_key(store.pool, new, "ann")
    await api_keys.revoke_key(store.pool, "ccn_prefix", "ann")
    await api_keys.revoke_key(store.pool, "ccn_prefix", "ann")
    await published(store)
    await token_keys.end_keys(store.pool, SOON, by="ann")
    await store.pool.rows("UPDATE users SET name = 'Zora', tier = 'user'")
    nobody = await store.pool.value("SELECT session_user::text")
    assert await noted(store) == [
        ("ann", "add user"),
        ("ann", "disable user"),
        ("bob", "enable user"),
        ("bob", "change password"),
        ("ann", "issue key"),
        ("ann", "revoke key"),
        ("ann", "end token key"),
        (nobody, "rename user"),
        (nobody, "change tier"),
    ]
    bodies = [row["body"] for row in await store.pool.rows("SELECT body FROM operator_requests")]
    for body in bodies:
        commitment.hash_document(body)  # a node can seal it
    said = repr(bodies)
    for secret in ("hash", "other", "ccn_prefix", new.hash.hex()):
        assert secret not in said
    assert {body.get("user") for body in bodies} == {str(owner.id), None}


async def test_a_change_that_is_refused_leaves_nothing_to_be_sealed(store: Store) -> None:
    await user(store, name="ada")
    with pytest.raises(errors.Conflict):
        await user(store, name="ADA")
    with pytest.raises(errors.NotFound):
        await users.disable_user(store.pool, "nobody", "ann")
    with pytest.raises(errors.InputInvalid, match="at most 200"):
        await users.disable_user(store.pool, "ada", "x" * 201)
    assert [action for _, action in await noted(store)] == ["add user"]


async def test_a_change_of_accounts_cannot_be_taken_back(store: Store) -> None:
    await user(store)
    (standing,) = await requests.list_newest(store.pool, 1)
    with pytest.raises(errors.Conflict, match="change it again"):
        await requests.take_back_request(store.pool, standing.request.id, "ann")
