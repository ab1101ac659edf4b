"""The pauses of each kind of failure, taken one after another, and a pause that the API asks for."""

from __future__ import annotations

import anthropic
import httpx2
import pytest

from ccn.claude.failure import FailureKind, StreamBroken
from ccn.claude.retries import CallTries, RetryDelays
from ccn.core.calls.call import CallRetry

DELAYS = RetryDelays(network_s=(1.0, 2.0), limited_s=(30.0,), server_s=(3.0, 4.0), asked_most_s=60.0)
LOST = StreamBroken(FailureKind.NETWORK, "lost")
LIMITED = StreamBroken(FailureKind.LIMITED, "limited")
SERVER = StreamBroken(FailureKind.SERVER, "server")
REFUSED = StreamBroken(FailureKind.REFUSED, "refused")


def asking_to_wait(header: str, status: int = 529) -> anthropic.APIStatusError:
    request = httpx2.Request("POST", "http://127.0.0.1/v1/messages")
    answer = httpx2.Response(status, headers={"retry-after": header}, request=request)
    kind = anthropic.RateLimitError if status == 429 else anthropic.InternalServerError
    return kind("busy", response=answer, body=None)


async def follow(*failures: BaseException) -> list[CallRetry]:
    """Fail like this, one try after another, and then succeed; returns the pauses before further tries."""
    tries, pauses, left = CallTries(DELAYS), list[CallRetry](), list(failures)
    async for attempt in tries:
        if tries.retry is not None:
            pauses.append(tries.retry)
        with attempt:
            if left:
                raise left.pop(0)
    assert not left
    return pauses


async def test_a_call_that_succeeds_is_made_once() -> None:
    assert await follow() == []


async def test_pauses_are_taken_in_their_order_and_each_says_how_many_are_left() -> None:
    assert await follow(LOST, LOST) == [
        CallRetry(2, 3, 1.0, "network"),
        CallRetry(3, 3, 2.0, "network"),
    ]


@pytest.mark.parametrize(
    ("failures", "left"), [((LOST,) * 3, 0), ((LIMITED,) * 2, 0), ((SERVER,) * 3, 0), ((REFUSED,), 0)]
)
async def test_the_failure_that_has_no_pause_left_is_final(
    failures: tuple[StreamBroken], left: int
) -> None:
    assert left == 0
    with pytest.raises(StreamBroken) as final:
        await follow(*failures)
    assert final.value is failures[-1]


async def test_every_kind_has_pauses_of_its_own_and_tries_are_counted_together() -> None:
    pauses = await follow(LOST, SERVER, LIMITED, LOST, SERVER)
    assert [(each.number, each.pause_s) for each in pauses] == [
        (2, 1.0),
        (3, 3.0),
        (4, 30.0),
        (5, 2.0),
        (6, 4.0),
    ]
    assert all(each.number <= each.most for each in pauses)


async def test_a_refusal_ends_a_call_that_had_pauses_left() -> None:
    with pytest.raises(StreamBroken, match="refused"):
        await follow(LOST, REFUSED)


async def test_what_is_no_failure_of_a_call_is_not_tried_again() -> None:
    with pytest.raises(ZeroDivisionError):
        await follow(ZeroDivisionError())


@pytest.mark.parametrize(("header", "pause_s"), [("0", 0.0), ("7.5", 7.5), ("60", 60.0), ("-3", 0.0)])
async def test_a_pause_that_the_api_asks_for_takes_the_place_of_ours(header: str, pause_s: float) -> None:
    (pause,) = await follow(asking_to_wait(header))
    assert (pause.pause_s, pause.most) == (pause_s, 3)


@pytest.mark.parametrize("header", ["60.1", "86400", "inf", "Fri, 31 Dec 2100 00:00:00 GMT"])
async def test_a_pause_longer_than_ours_ends_the_call(header: str) -> None:
    with pytest.raises(anthropic.APIStatusError):
        await follow(asking_to_wait(header))


@pytest.mark.parametrize(
    "header", ["", "soon", "nan", "Fri, 99 Foo 2100", "Fri, 31 Dec 99999 00:00:00 GMT", "1,5"]
)
async def test_a_pause_that_makes_no_sense_is_ours(header: str) -> None:
    (pause,) = await follow(asking_to_wait(header))
    assert pause.pause_s == 3.0


async def test_a_date_in_the_past_asks_for_no_pause() -> None:
    (pause,) = await follow(asking_to_wait("Fri, 31 Dec 1999 00:00:00 GMT", 429))
    assert (pause.pause_s, pause.reason) == (0.0, "rate limit")


async def test_pauses_of_one_call_do_not_use_up_those_of_the_next() -> None:
    assert await follow(LOST, LOST) == await follow(LOST, LOST)
