"""What can go wrong with a call, sorted once: whether and how it is tried again, or why it is refused.

The SDK has a class for each status and for many of the API's error codes. The table is searched from the
most special class to the most general one, so a class that a later SDK invents still finds its place.
Errors that arrive inside a stream have no class of their own, only the API's name for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from enum import Enum
from math import isnan
from time import time

import anthropic
import httpx2

from ccn import errors


class FailureKind(Enum):
    """How a failed try is followed up."""

    NETWORK = "network"
    LIMITED = "rate limit"
    SERVER = "server"
    REFUSED = "refused"


class StreamBroken(Exception):
    """A stream ended with an error of its own, or before its end."""

    def __init__(self, kind: FailureKind, words: str) -> None:
        super().__init__(words)
        self.kind = kind


TABLE: dict[type[BaseException], FailureKind] = {
    anthropic.APIConnectionError: FailureKind.NETWORK,
    httpx2.TransportError: FailureKind.NETWORK,
    httpx2.DecodingError: FailureKind.NETWORK,
    TimeoutError: FailureKind.NETWORK,
    anthropic.RequestTimeoutError: FailureKind.NETWORK,
    anthropic.ClientClosedRequestError: FailureKind.NETWORK,
    anthropic.RateLimitError: FailureKind.LIMITED,
    # Limits of a month: asking again within the hour does not help.
    anthropic.EnforcedSpendLimitReachedError: FailureKind.REFUSED,
    anthropic.ContractSpendLimitReachedError: FailureKind.REFUSED,
    anthropic.InternalServerError: FailureKind.SERVER,
    anthropic.HTTPNotImplementedError: FailureKind.REFUSED,
    anthropic.APIStatusError: FailureKind.REFUSED,
    anthropic.APIResponseValidationError: FailureKind.SERVER,
    anthropic.AnthropicError: FailureKind.REFUSED,
}

IN_A_STREAM: Mapping[str, FailureKind] = {
    "overloaded_error": FailureKind.SERVER,
    "api_error": FailureKind.SERVER,
    "timeout_error": FailureKind.SERVER,
    "rate_limit_error": FailureKind.LIMITED,
}

MEND: Mapping[type[BaseException], str] = {
    anthropic.AuthenticationError: "check CCN_CLAUDE_API_KEY",
    anthropic.PermissionDeniedError: "CCN_CLAUDE_API_KEY may not do this",
    anthropic.PaymentRequiredError: "the account of CCN_CLAUDE_API_KEY has no credit",
    anthropic.EnforcedSpendLimitReachedError: "raise the limit of the account of CCN_CLAUDE_API_KEY",
    anthropic.ContractSpendLimitReachedError: "raise the limit of the account of CCN_CLAUDE_API_KEY",
    anthropic.NotFoundError: "check CCN_CLAUDE_MODEL and CCN_CLAUDE_BASE_URL",
    anthropic.ContentTooLargeError: "the prompt is too long",
}

PROMPTS = frozenset(
    {anthropic.BadRequestError, anthropic.ContentTooLargeError, anthropic.UnprocessableEntityError}
)
"""What the API refuses because of what was asked. Their subclasses are about accounts and programs."""

FOREIGN = (
    anthropic.AnthropicError,
    httpx2.TransportError,
    httpx2.DecodingError,
    TimeoutError,
    StreamBroken,
)
_WORDS_LIMIT = 300


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what the SDK raises into an error of CCN's tree, with its cause attached."""
    try:
        yield
    except FOREIGN as foreign:
        if type(foreign) in PROMPTS:
            raise errors.PromptRefused(_describe_failure(foreign)) from foreign
        if classify_failure(foreign) is FailureKind.REFUSED:
            raise errors.ModelRefused(_describe_failure(foreign)) from foreign
        raise errors.ModelUnavailable(_describe_failure(foreign)) from foreign


def classify_failure(foreign: BaseException) -> FailureKind:
    """Find how to follow up: the nearest entry of the table, from the class up to its ancestors."""
    if isinstance(foreign, StreamBroken):
        return foreign.kind
    return next((TABLE[kind] for kind in type(foreign).__mro__ if kind in TABLE), FailureKind.REFUSED)


def retry_after_s(foreign: BaseException) -> float | None:
    """Read how long the API asks to wait, in seconds or as a date. None if it does not."""
    response = getattr(foreign, "response", None)
    header = response.headers.get("retry-after", "") if response is not None else ""
    with suppress(ValueError):
        if not isnan(asked_s := float(header)):
            return max(0.0, asked_s)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return None


def failure_from_event(event: object) -> StreamBroken:
    """Read the failure that an `error` event tells of."""
    error = event.get("error") if isinstance(event, Mapping) else None
    name, words = (error.get("type"), error.get("message")) if isinstance(error, Mapping) else (None, None)
    return StreamBroken(IN_A_STREAM.get(str(name), FailureKind.REFUSED), f"{name}: {words}"[:_WORDS_LIMIT])


def _describe_failure(foreign: BaseException) -> str:
    name = getattr(foreign, "type", None) or type(foreign).__name__
    words = getattr(foreign, "api_message", None) or str(foreign)
    mend = next((MEND[kind] for kind in type(foreign).__mro__ if kind in MEND), "")
    return f"{name}: {words}"[:_WORDS_LIMIT] + (f" ({mend})" if mend else "")
