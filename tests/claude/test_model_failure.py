"""Every error of the SDK is tried again or refused because somebody decided so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anthropic
import httpx2
import pytest

from ccn import errors
from ccn.claude import failure
from ccn.claude.failure import FailureKind, StreamBroken

REQUEST = httpx2.Request("POST", "https://api.example/v1/messages")


def _below(top: type[BaseException]) -> Iterator[type[BaseException]]:
    for each in top.__subclasses__():
        yield each
        yield from _below(each)


EVERYTHING = sorted(
    {*_below(anthropic.AnthropicError), *_below(httpx2.TransportError)}, key=lambda each: each.__name__
)
TOPS = {anthropic.APIError, anthropic.AnthropicError}


def status(code: int, body: object = None, **headers: str) -> anthropic.APIStatusError:
    response = httpx2.Response(code, request=REQUEST, headers=headers)
    kind = {
        401: anthropic.AuthenticationError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        529: anthropic.OverloadedError,
    }.get(code, anthropic.APIStatusError)
    return kind("failed", response=response, body=body)


def test_the_sdk_has_about_as_many_errors_as_the_table_was_written_for() -> None:
    assert len(EVERYTHING) > 120


def test_every_error_of_an_answer_lands_on_an_entry_for_its_kind() -> None:
    strays = [
        each.__name__
        for each in EVERYTHING
        if issubclass(each, (anthropic.APIError, httpx2.TransportError))
        and each not in {*TOPS, anthropic.APIWebhookValidationError}
        and not any(ancestor in failure.TABLE for ancestor in each.__mro__ if ancestor not in TOPS)
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("foreign", "kind"),
    [
        (anthropic.APITimeoutError, FailureKind.NETWORK),
        (anthropic.APIConnectionError, FailureKind.NETWORK),
        (httpx2.RemoteProtocolError, FailureKind.NETWORK),
        (httpx2.ReadTimeout, FailureKind.NETWORK),
        (anthropic.RateLimitError, FailureKind.LIMITED),
        (anthropic.RampLimitExceededError, FailureKind.LIMITED),
        (anthropic.EnforcedSpendLimitReachedError, FailureKind.REFUSED),
        (anthropic.InternalServerError, FailureKind.SERVER),
        (anthropic.ServiceUnavailableError, FailureKind.SERVER),
        (anthropic.OverloadedError, FailureKind.SERVER),
        (anthropic.HTTPNotImplementedError, FailureKind.REFUSED),
        (anthropic.BadRequestError, FailureKind.REFUSED),
        (anthropic.AuthenticationError, FailureKind.REFUSED),
        (anthropic.ContentTooLargeError, FailureKind.REFUSED),
        (type("NewRateLimitError", (anthropic.RateLimitError,), {}), FailureKind.LIMITED),
    ],
)
def test_an_error_is_followed_up_by_its_kind(foreign: type[BaseException], kind: FailureKind) -> None:
    assert failure.classify_failure(foreign.__new__(foreign)) is kind


@pytest.mark.parametrize(
    ("raised", "meant"),
    [
        (status(529), errors.ModelUnavailable),
        (status(429), errors.ModelUnavailable),
        (status(401), errors.ModelRefused),
        (status(400), errors.ModelRefused),
        (httpx2.ConnectError("refused"), errors.ModelUnavailable),
        (TimeoutError(), errors.ModelUnavailable),
        (StreamBroken(FailureKind.NETWORK, "cut"), errors.ModelUnavailable),
    ],
)
def test_what_leaves_is_an_error_of_ours_with_its_cause(
    raised: Exception, meant: type[errors.CCNError]
) -> None:
    with pytest.raises(meant) as told, failure.translate_errors():
        raise raised
    assert told.value.__cause__ is raised


def test_a_refusal_repeats_the_words_of_the_api_and_what_to_mend() -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    with pytest.raises(errors.ModelRefused) as told, failure.translate_errors():
        raise status(401, body)
    assert str(told.value) == "authentication_error: invalid x-api-key (check CCN_CLAUDE_API_KEY)"


def test_a_long_explanation_is_cut() -> None:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "x" * 10_000}}
    with pytest.raises(errors.ModelRefused) as told, failure.translate_errors():
        raise status(400, body)
    assert len(str(told.value)) < 400


def test_a_wait_is_asked_for_in_seconds_or_by_a_date() -> None:
    assert failure.retry_after_s(status(429, **{"retry-after": "7"})) == 7
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)
    by_date = failure.retry_after_s(status(429, **{"retry-after": later}))
    assert by_date is not None
    assert 50 < by_date <= 60
    for nothing in ("", "soon", "-3"):
        assert failure.retry_after_s(status(429, **{"retry-after": nothing})) in {None, 0.0}
    assert failure.retry_after_s(httpx2.ConnectError("refused")) is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, FailureKind.SERVER),
        ({"error": {"type": "rate_limit_error", "message": "Slow down"}}, FailureKind.LIMITED),
        ({"error": {"type": "invalid_request_error", "message": "No"}}, FailureKind.REFUSED),
        ({"error": None}, FailureKind.REFUSED),
        ([], FailureKind.REFUSED),
    ],
)
def test_an_error_inside_of_a_stream_has_a_kind(said: object, kind: FailureKind) -> None:
    assert failure.failure_from_event(said).kind is kind
