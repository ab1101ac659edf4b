"""Somebody at a terminal: types, and sees what the command shows there."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

DEADLINE_S = 60.0
PATIENCE_S = 8.0
CHAT = (sys.executable, "-P", "-m", "ccn", "chat")
OWN_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[\001\002]")


class Typing:
    """Somebody at a terminal."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self.process, self.raw = process, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._terminal, self._seen, self._more = terminal, 0, asyncio.Event()
        asyncio.get_running_loop().add_reader(terminal, self._read)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    async def interrupts(self, text: str) -> None:
        """Press Ctrl-C until it is on the screen.

        Python reads a line without looking for a signal that came after the prompt was printed and before
        it began to wait: that one is noticed with the next key. A person would press again, too.
        """
        for _ in range(round(DEADLINE_S / PATIENCE_S)):
            self.type("\x03")
            with suppress(AssertionError):
                await self.sees(text, PATIENCE_S)
                return
        await self.sees(text)

    async def sees(self, text: str, within_s: float = DEADLINE_S) -> str:
        """Wait until it is on the screen, after what was seen before; what came up to there."""
        try:
            async with asyncio.timeout(within_s):
                while text not in self._new():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} did not come, but {self._new()!r}") from None
        shown = self._new()
        until = shown.index(text) + len(text)
        self._seen += until
        return shown[:until]

    async def left(self) -> int:
        return await asyncio.wait_for(self.process.wait(), DEADLINE_S)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._terminal)
        with suppress(ProcessLookupError):
            self.process.kill()
        os.close(self._terminal)

    def _new(self) -> str:
        return _STYLE.sub("", self.raw).replace("\r\n", "\n")[self._seen :]

    def _read(self) -> None:
        try:
            self.raw += self._decoder.decode(os.read(self._terminal, 65_536))
        except OSError:
            asyncio.get_running_loop().remove_reader(self._terminal)
        self._more.set()


@asynccontextmanager
async def terminal(environ: Mapping[str, str], *options: str) -> AsyncIterator[Typing]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWN_TERMINAL, *CHAT, *options,
        stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environ),
    )  # fmt: skip
    os.close(theirs)
    typing = Typing(process, ours)
    try:
        yield typing
    finally:
        typing.close()
        await process.wait()
