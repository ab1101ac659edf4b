"""Measures what a call used up, as well as that can be known at each moment.

The API tells the tokens of the prompt when a reply begins and those of the reply when it ends. A stream
that breaks or is dropped in between costs money all the same. So does, perhaps, a request whose answer
never came. Until the API says better the meter shows an estimate that is rather too high, so that a
budget holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anthropic

from ccn.claude import wire
from ccn.core.calls import price, tokens
from ccn.core.calls.call import Call, TokenUsage

Permit = Callable[[TokenUsage], Awaitable[None]]
"""Called before each try with what was used so far; raises to forbid the try."""


class UsageMeter:
    """The usage of all tries of one call, and who has to permit each of them."""

    def __init__(self, permit: Permit | None = None) -> None:
        self._permit = permit
        self._before = TokenUsage()
        self._answer: wire.StreamedReply | None = None
        self._call: Call | None = None

    @property
    def usage(self) -> TokenUsage:
        """All tokens used so far."""
        return self._before + self._estimate_try()

    async def allow_try(self) -> None:
        """Ask for permission for the next try."""
        if self._permit is not None:
            await self._permit(self.usage)

    @contextmanager
    def measure_try(self, answer: wire.StreamedReply, call: Call) -> Iterator[None]:
        """Measure one try. A try that the API turned away costs nothing."""
        self._answer = answer
        self._call = call
        try:
            yield
        except anthropic.APIStatusError:
            self._answer = None
            raise
        finally:
            self._before = self.usage  # before the answer is dropped, whose usage it includes
            self._answer = None

    def _estimate_try(self) -> TokenUsage:
        if self._answer is None or self._call is None:
            return TokenUsage()
        if not self._answer.begun:
            return TokenUsage(input=price.estimate_prompt(self._call))
        known = self._answer.usage
        if self._answer.ended:
            return known
        estimate = tokens.estimate_tokens(self._answer.text)
        return TokenUsage(known.input, max(known.output, estimate), known.cache_read, known.cache_write)
