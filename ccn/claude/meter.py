"""What a call used up, as well as anybody knows at that moment.

The API tells the tokens of the prompt when a reply begins and those of the reply when it ends. A stream
that breaks or is dropped in between was still paid for; so was, perhaps, a request whose answer never came.
Until the API says better the meter shows an estimate that is rather too high, so that a budget holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anthropic

from ccn.claude import wire
from ccn.core.call import Call, Usage


class Meter:
    """The usage of all tries of one call."""

    def __init__(self) -> None:
        self._before = Usage()
        self._answer: wire.Answer | None = None
        self._prompt = 0

    @property
    def usage(self) -> Usage:
        """All tokens used so far."""
        return self._before + self._now()

    @contextmanager
    def measuring(self, answer: wire.Answer, call: Call) -> Iterator[None]:
        """Watch one try; one that the API turned away costs nothing."""
        self._answer, self._prompt = answer, wire.prompt_bytes(call)
        try:
            yield
        except anthropic.APIStatusError:
            self._answer = None
            raise
        finally:
            self._before, self._answer = self.usage, None

    def _now(self) -> Usage:
        if self._answer is None:
            return Usage()
        if not self._answer.begun:
            return Usage(input=-(-self._prompt // BYTES_PER_TOKEN))
        known = self._answer.usage
        if self._answer.ended:
            return known
        said = -(-len(self._answer.text.encode()) // BYTES_PER_TOKEN)
        return Usage(known.input, max(known.output, said), known.cache_read, known.cache_write)


BYTES_PER_TOKEN = 3
"""Fewer than a token of ordinary text has, so that an estimate errs towards too many tokens."""
