"""Accounts behind every door: who is let in, for how long, and how soon that ends."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest

from ccn import errors, settings
from ccn.core.ids import ConversationId, UserId
from ccn.gateway.accounts import credentials, passwords, tokens
from ccn.gateway.accounts.access import ANYBODY, Caller
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds import house
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier
from tests.support.gateway.access_tokens import Forger, said
from tests.support.gateway.accounts_door import PASSWORD, RECHECK_S, Clock, Door

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_password_gives_tokens_and_a_token_says_who(door: Door) -> None:
    ada = await door.user()
    grant = await door.accounts.sign_in(f" {ada.name.upper()} ", PASSWORD)
    assert await door.accounts.identify_caller(grant.access_token) == Caller(Tier.USER, ada.id, ada.name)
    assert grant.expires_in_s == 900


async def test_whatever_is_wrong_with_a_sign_in_the_answer_is_the_same(door: Door) -> None:
    ada, banned = await door.user(), await door.user()
    await users.disable_user(door.pool, banned.name)
    without = await users.add_user(door.pool, UserId(credentials.new_id()), "no password", Tier.USER, None)
    broken = await users.add_user(door.pool, UserId(credentials.new_id()), "broken", Tier.USER, "x")
    tries = [
        (ada.name, PASSWORD + "x"),
        (ada.name, ""),
        ("nobody", PASSWORD),
        ("", ""),
        (banned.name, PASSWORD),
        (without.name, ""),
        (broken.name, "x"),
    ]
    said = set()
    for name, password in tries:
        with pytest.raises(errors.SignInRefused) as refused:
            await door.accounts.sign_in(name, password)
        said.add(str(refused.value))
    assert len(said) == 1


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(door: Door) -> None:
    ada = await door.user()

    async def took_s(name: str) -> float:
        began = time.process_time()  # of all threads: what others do on this machine is left out
        with pytest.raises(errors.SignInRefused):
            await door.accounts.sign_in(name, "wrong")
        return time.process_time() - began

    known, unknown = [], []
    for _ in range(7):
        known.append(await took_s(ada.name))
        unknown.append(await took_s("nobody at all"))
    assert 0.5 < statistics.median(unknown) / statistics.median(known) < 2


async def test_passwords_are_matched_off_the_loop_and_too_many_are_refused() -> None:
    matching, kept = Passwords(at_once=1, waiting=2), passwords.hash_password(PASSWORD)
    outcomes = [asyncio.ensure_future(matching.match(PASSWORD, kept)) for _ in range(5)]
    ticks = 0
    while not all(each.done() for each in outcomes):
        ticks += 1
        await asyncio.sleep(0.001)
    results = await asyncio.gather(*outcomes, return_exceptions=True)
    assert [type(each) for each in results] == [bool] * 3 + [errors.Overloaded] * 2
    assert ticks > 5
    assert await matching.match(PASSWORD, kept)
    matching.close()


@pytest.mark.parametrize("password", ["short", "x" * 1_025])
async def test_a_password_nobody_should_have_is_refused(password: str) -> None:
    with pytest.raises(errors.InputInvalid, match="10 to 1024"):
        passwords.hash_password(password)


async def test_what_is_kept_of_a_password_is_argon2id() -> None:
    assert passwords.hash_password(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_refresh_token_gives_the_next_one_once(door: Door) -> None:
    ada, other = await door.user(), door.another_node()
    first = await door.accounts.sign_in(ada.name, PASSWORD)
    second = await other.renew_grant(first.refresh_token)
    assert (await other.identify_caller(second.access_token)).user == ada.id
    with pytest.raises(errors.CredentialInvalid, match="used before"):
        await door.accounts.renew_grant(first.refresh_token)
    with pytest.raises(errors.CredentialInvalid):
        await door.accounts.renew_grant(second.refresh_token)
    with pytest.raises(errors.CredentialInvalid):
        await door.another_node().identify_caller(second.access_token)


@pytest.mark.parametrize("made_up", ["", "ccnr_x", "x" * 5_000, "\ud800", "a\x00b"])
async def test_a_credential_that_was_made_up_is_refused(door: Door, made_up: str) -> None:
    for ask in (door.accounts.renew_grant, door.accounts.identify_caller):
        with pytest.raises(errors.CredentialInvalid):
            await ask(made_up)
    with pytest.raises(errors.CredentialInvalid):
        await door.accounts.identify_caller(credentials.API_KEY + made_up)


async def test_an_api_key_does_what_it_and_its_user_may(door: Door) -> None:
    operator, ada = await door.user(Tier.ADMIN), await door.user()
    cases = [
        (operator, Tier.ADMIN, Tier.ADMIN),
        (operator, Tier.USER, Tier.USER),
        (ada, Tier.ADMIN, Tier.USER),
        (ada, Tier.PUBLIC, Tier.PUBLIC),
    ]
    for owner, wanted, may in cases:
        found = await door.accounts.identify_caller(await door.key(owner, wanted))
        assert found == Caller(may, owner.id, owner.name)


async def test_what_ends_stops_working_within_the_time_that_is_stated(door: Door) -> None:
    banned, changed, revoked = [await door.user() for _ in range(3)]
    key = await door.key(revoked)
    shown = [
        (await door.accounts.sign_in(banned.name, PASSWORD)).access_token,
        await door.key(banned),
        (await door.accounts.sign_in(changed.name, PASSWORD)).access_token,
        key,
    ]
    for each in shown:
        await door.accounts.identify_caller(each)
    await users.disable_user(door.pool, banned.name)
    await users.set_password(door.pool, changed.name, passwords.hash_password("another password"))
    await api_keys.revoke_key(door.pool, credentials.key_prefix(key))
    door.clock.forward(RECHECK_S + 0.01)
    for each in shown:
        with pytest.raises(errors.CredentialInvalid):
            await door.accounts.identify_caller(each)
    await users.enable_user(door.pool, banned.name)
    with pytest.raises(errors.CredentialInvalid):
        await door.accounts.identify_caller(shown[0])
    assert (await door.accounts.identify_caller(shown[1])).user == banned.id


async def test_a_credential_is_believed_for_no_longer_than_it_lasts(door: Door) -> None:
    clock = Clock()
    node, ends_at = door.another_node(clock), datetime.now(UTC) + timedelta(hours=1)
    key = await door.key(await door.user(), expires_at=ends_at)
    clock.forward((ends_at - clock.now).total_seconds() - 1)
    await node.identify_caller(key)
    clock.forward(1.01)
    with pytest.raises(errors.CredentialInvalid):
        await node.identify_caller(key)


async def test_a_user_whose_tier_changed_has_it_with_the_token_it_holds(door: Door) -> None:
    ada = await door.user()
    token = (await door.accounts.sign_in(ada.name, PASSWORD)).access_token
    await door.pool.rows("UPDATE users SET tier = 'admin' WHERE id = $1", ada.id)
    assert (await door.accounts.identify_caller(token)).tier is Tier.ADMIN


async def test_every_claim_of_a_token_is_checked(door: Door) -> None:
    ada, eve, forger = await door.user(), await door.user(), await Forger.at(door)
    good = (await door.another_node().sign_in(ada.name, PASSWORD)).access_token
    theirs = said((await door.another_node().sign_in(eve.name, PASSWORD)).access_token)
    claims = said(good)
    now, life_s = int(datetime.now(UTC).timestamp()), claims["exp"] - claims["iat"]
    assert (await door.another_node().identify_caller(forger.token(claims))).user == ada.id
    wrong: list[dict[str, object]] = [
        {"aud": "elsewhere"},
        {"aud": ["ccn", "elsewhere"]},
        {"iss": "elsewhere"},
        {"nbf": now + 60},
        {"iat": now + 60},
        {"sub": "nobody"},
        {"sub": str(uuid4())},
        {"sid": str(uuid4())},
        {"sid": theirs["sid"]},
        {"gen": claims["gen"] + 1},
        {"gen": "x"},
        {"sid": "x"},
        {"exp": "never"},
        {"exp": claims["iat"] + life_s + 1},
        {"exp": now + 10 * 365 * 86_400},
        *[dict[str, object]({name: None}) for name in claims],
    ]
    for changes in wrong:
        forged = {name: value for name, value in (claims | changes).items() if value is not None}
        with pytest.raises(errors.CredentialInvalid):
            await door.another_node().identify_caller(forger.token(forged))
    with pytest.raises(errors.TokenExpired):
        await door.another_node().identify_caller(forger.token(claims | {"exp": now - 60}))
    for header in ({"typ": "JWT"}, {"kid": "0" * 16}):
        with pytest.raises(errors.CredentialInvalid):
            await door.another_node().identify_caller(forger.token(claims, **header))


async def test_a_token_of_another_algorithm_is_refused_even_if_its_signature_fits(door: Door) -> None:
    ada, forger = await door.user(), await Forger.at(door)
    good = (await door.another_node().sign_in(ada.name, PASSWORD)).access_token
    claims, headers = said(good), {"kid": forger.name, "typ": "at+jwt"}
    body = good.rsplit(".", 1)[0]
    for forged in (
        jwt.encode(claims, "", "none", headers=headers),
        jwt.encode(claims, forger.pair.public * 2, "HS256", headers=headers),
        jwt.encode(claims, forger.pair.public * 2, "HS512", headers=headers),
        f"{body}.",
        f"{body}.{'A' * 86}",
        good[:-2],
        good + "x" * 5_000,
        "a.b.c",
        "..",
    ):
        with pytest.raises(errors.CredentialInvalid):
            await door.another_node().identify_caller(forged)


async def test_another_cluster_s_tokens_say_nothing_here(door: Door) -> None:
    ada = await door.user()
    elsewhere = settings.AccountsSettings(issuer="elsewhere", audience="elsewhere")
    token = tokens.issue_token(ada, credentials.new_id(), tokens.new_pair(), elsewhere, door.clock.wall())
    with pytest.raises(errors.CredentialInvalid):
        await door.accounts.identify_caller(token)


async def test_a_conversation_is_its_owner_s_and_the_operators(door: Door) -> None:
    ada, eve, operator = await door.user(), await door.user(), await door.user(Tier.ADMIN)
    here, (opening, _) = await door.conversation(ada), house.open_house(door.pool)

    def caller(user: users.User) -> Caller:
        return Caller(user.tier, user.id, user.name)

    assert (await opening.open_to_speak(caller(ada), here)).id == here
    assert (await opening.open_to_read(caller(ada), here)).id == here
    why = replace(caller(operator), reason="asked by its owner")
    assert (await opening.open_to_read(why, here)).id == here
    with pytest.raises(errors.ReasonRequired, match="X-CCN-Reason"):
        await opening.open_to_read(caller(operator), here)
    with pytest.raises(errors.NotYours, match="never speaks"):
        await opening.open_to_speak(why, here)
    refusals = []
    for named in (here, ConversationId(credentials.new_id())):
        with pytest.raises(errors.NotFound) as refused:
            await opening.open_to_read(caller(eve), named)
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]
    with pytest.raises(errors.Unauthenticated):
        await opening.open_to_read(ANYBODY, here)
    with pytest.raises(errors.Forbidden):
        await opening.open_to_read(Caller(Tier.PUBLIC, ada.id, ada.name), here)
