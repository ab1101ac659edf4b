"""Guessing passwords: slow for a name from everywhere and for an address, and it locks out no owner."""

from __future__ import annotations

import httpx
import pytest
import structlog

from ccn import errors, settings
from ccn.gateway import guessing, readiness
from ccn.gateway.accounts import common_passwords, passwords
from ccn.gateway.deeds import house
from ccn.gateway.guessing import HOUR_S
from ccn.gateway.http import app, auth
from ccn.gateway.limiting import Limiter
from tests.support.gateway.accounts_door import PASSWORD, Door

HERE, THERE = "address/203.0.113.7", "address/198.51.100.7"


class Ticks:
    """A clock that is moved by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def limited(**chosen: int) -> tuple[Limiter, Ticks]:
    clock = Ticks()
    return Limiter(settings.LimitsSettings(**chosen), clock), clock  # type: ignore[arg-type]


async def test_a_name_that_was_refused_too_often_waits_wherever_it_comes_from() -> None:
    limiter, clock = limited(name_refusals=3)
    for nth in range(3):
        limiter.guesses.check_sign_in("ada", f"address/{nth}")
        await limiter.guesses.count_refusal("ada", f"address/{nth}")
    with pytest.raises(errors.TooManyRequests) as refused:
        limiter.guesses.check_sign_in(" ADA ", THERE)
    assert 0 < refused.value.retry_after_s <= HOUR_S
    limiter.guesses.check_sign_in("eve", THERE)
    clock.now += HOUR_S + 2
    limiter.guesses.check_sign_in("ada", THERE)


async def test_nobody_locks_a_user_out_of_where_it_signs_in() -> None:
    limiter, clock = limited(name_refusals=3)
    limiter.guesses.remember_success("ada", HERE)
    for _ in range(10):
        await limiter.guesses.count_refusal("ada", THERE)
    limiter.guesses.check_sign_in("ada", HERE)
    with pytest.raises(errors.TooManyRequests):
        limiter.guesses.check_sign_in("ada", THERE)
    clock.now += HOUR_S + 2
    limiter.guesses.check_sign_in("ada", THERE)


async def test_an_address_that_tries_many_names_waits_too() -> None:
    limiter, _ = limited(address_refusals=5)
    for nth in range(5):
        await limiter.guesses.count_refusal(f"user {nth}", HERE)
    with pytest.raises(errors.TooManyRequests):
        limiter.guesses.check_sign_in("somebody else", HERE)
    limiter.guesses.check_sign_in("somebody else", THERE)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_door_refuses_who_sprays_and_logs_no_name(door: Door) -> None:
    chosen = settings.LimitsSettings(requests=1_000, sign_ins=1_000, address_refusals=3)
    desk = auth.AuthContext(Limiter(chosen), door.accounts, *house.open_house(door.pool))
    made = app.create_app("node-3", readiness.Readiness({}), None, desk)
    transport = httpx.ASGITransport(made, client=("203.0.113.7", 4711))
    ada = await door.user()
    tries = [("hunter2-typed-as-a-name", "x"), (ada.name, "wrong"), ("eve", "x"), (ada.name, PASSWORD)]
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        with structlog.testing.capture_logs() as logs:
            told = [
                (await client.post("/token", data={"username": name, "password": password})).status_code
                for name, password in tries
            ]
    assert told == [401, 401, 401, 429]
    lines = [each for each in logs if each["event"] == "sign-in refused"]
    assert [each["exists"] for each in lines] == [False, True, False]
    assert {each["network"] for each in lines} == {"203.0.113.0/24"}
    assert "hunter2" not in repr(logs)
    assert ada.name not in repr(logs)


def test_a_neighbourhood_is_told_and_no_address() -> None:
    assert guessing.mask_address("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert guessing.mask_address("not an address") == "unknown"


@pytest.mark.parametrize(
    "password",
    [
        "password12",
        "P@ssw0rd2024!",
        "passwordpassword",
        "1234567890",
        "0987654321",
        "qwertyuiop",
        "1q2w3e4r5t",
        "aaaaaaaaaaaa",
        "abababababab",
        "$ummer2026!!",
        "letmein!!!",
        "administrator",
    ],
)
def test_what_anybody_tries_first_is_no_password(password: str) -> None:
    with pytest.raises(errors.InputInvalid, match="anybody tries"):
        passwords.hash_password(password)


@pytest.mark.parametrize("password", [PASSWORD, "8392017465x", "tin lantern otter"])
def test_what_has_to_be_guessed_is_one(password: str) -> None:
    assert not common_passwords.is_common(password)
