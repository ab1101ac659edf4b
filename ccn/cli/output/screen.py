"""What a person or a program sees of a running command, without ever holding up the work.

A terminal can be stopped and a pipe be full or closed. Lines therefore go through a queue to a thread:
when it is full, lines are dropped and counted; when nobody reads any more, the rest is dropped in silence.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from typing import TextIO

_QUEUE_LIMIT = 10_000
_LAST_WORDS_S = 1.0


class Screen:
    """One stream, written by one thread."""

    def __init__(self, stream: TextIO | None, limit: int = _QUEUE_LIMIT) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(limit)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write_lines, name="screen", daemon=True)
        self._writer.start()

    def say(self, text: str) -> None:
        """Write a line, or several."""
        try:
            if self._dropped:
                self._lines.put_nowait(f"({self._dropped} lines were dropped: nobody read them in time)")
                self._dropped = 0
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Give the last lines a moment."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
        self._writer.join(_LAST_WORDS_S)

    def _write_lines(self) -> None:
        while (text := self._lines.get()) is not None:
            if self._stream is None:
                continue
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                _silence_stream(self._stream)
                self._stream = None


def _silence_stream(stream: TextIO) -> None:
    """Nobody reads here any more; without this the interpreter would complain about it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
