"""A call to the model and what comes back: values between the prompt and the client that sends it.

They are separate from both, so that building a prompt needs no client, and a client knows nothing of
plates. A mark says that everything up to it stays the same for long, so the provider may cache it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.message import Role


@dataclass(frozen=True, slots=True)
class CallBlock:
    """A part of the system prompt."""

    text: str
    mark: bool = False


@dataclass(frozen=True, slots=True)
class CallMessage:
    """Something said before, or what is to be answered now."""

    role: Role
    text: str
    mark: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the model."""

    model: str
    system: tuple[CallBlock, ...]
    messages: tuple[CallMessage, ...]
    max_tokens: int
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of a call, or of many; what was read from or written to the cache is not in `input`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The model has read the prompt and begins to answer: what the prompt took."""

    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class Delta:
    """Some more of a reply."""

    text: str


@dataclass(frozen=True, slots=True)
class CallRestart:
    """The stream broke and the call is made again: what came so far is void."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallRetry:
    """A try failed, and another one follows after a pause: which, of how many at most, and why."""

    number: int
    most: int
    pause_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """All of a reply, which ends its stream."""

    text: str
    stop: str
    usage: TokenUsage
    model: str


Piece = CallBegun | Delta | CallRestart | CallRetry | Reply
