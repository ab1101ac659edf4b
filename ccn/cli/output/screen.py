"""Writes the output of a running command without ever holding up its work.

A terminal can be stopped, and a pipe can be full or closed. So lines go through a queue to a thread. When
the queue is full, lines are dropped and counted. When the reader is gone, the rest is dropped in silence.
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
    """A stream that one thread writes to."""

    def __init__(self, stream: TextIO | None, limit: int = _QUEUE_LIMIT) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(limit)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write_lines, name="screen", daemon=True)
        self._writer.start()

    def say(self, text: str) -> None:
        """Write one line or several."""
        try:
            if self._dropped:
                self._lines.put_nowait(f"({self._dropped} lines were dropped: nobody read them in time)")
                self._dropped = 0
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write the last lines, if that takes no longer than a moment."""
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
    """Lead a stream without a reader nowhere, or the interpreter complains of it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
