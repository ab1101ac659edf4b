"""A node as `ccn node run` starts it, that a test can stop at a step and whose clock a test can set.

    FOLDER/clock          by how many seconds its clock is ahead, as the eight bytes of a double
           stop-at        an event: when the node has logged it, this process stops itself (SIGSTOP), once
           quiet          while this exists, the node writes nothing new
           acknowledged   one line for each message whose writing was acknowledged

It also hosts a scripted instance, whose messages and vectors it writes by its own writer, as a node would.

Many are started here, so each is forked from the nursery of all tests, which has imported everything.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import random
import secrets
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

from ccn import errors, settings
from ccn.cli.output import logs
from ccn.core import ids
from ccn.core.axes import AXES, UNIT, Vector
from ccn.core.ids import CharacterId, ConversationId, InstanceId
from ccn.core.message import Role
from ccn.service import lifetime
from ccn.service.parts import Parts
from ccn.store.character.vectors import RecordScore
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, instances
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.conversations.instances import Instance
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN

NAME = "breakable"
"""What the nursery of tests is asked for."""
PAUSE_S = 0.2


class Tripwire:
    """The node's log; what is armed happens as soon as its line is written, before the node goes on."""

    def __init__(self, log: TextIO, armed: Path) -> None:
        self._log, self._armed = log, armed

    def write(self, line: str) -> int:
        self._log.write(line)
        self._log.flush()
        with suppress(FileNotFoundError):
            if f'"event": "{self._armed.read_text()}"' in line:
                self._armed.unlink()
                os.kill(os.getpid(), signal.SIGSTOP)
        return len(line)

    def flush(self) -> None:
        self._log.flush()


def shift_clock(file: Path) -> None:
    """Let `time.time` and `time.time_ns` be ahead by what the file says, from now on and as it changes."""
    opened = os.open(file, os.O_RDONLY)
    ahead = mmap.mmap(opened, 8, prot=mmap.PROT_READ)
    os.close(opened)
    real, real_ns = time.time, time.time_ns

    def ahead_s() -> float:
        return float(struct.unpack("d", ahead)[0])

    vars(time).update(time=lambda: real() + ahead_s(), time_ns=lambda: real_ns() + int(ahead_s() * 1e9))


def be_node(folder: Path) -> None:
    """Be the node that the environment describes."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for output in (1, 2):
        os.dup2(log, output)
    shift_clock(folder / "clock")

    def beside(pool: Pool, writer: Writer, stop: asyncio.Event) -> Parts:
        return {"speaking": _speak(Speaker(pool, writer, folder), stop)}

    chosen = settings.load()
    stream = cast("TextIO", Tripwire(sys.stderr, folder / "stop-at"))
    logs.configure_logging(chosen.log, node=chosen.node.id, stream=stream)
    lifetime.run_node(chosen, beside)


async def _speak(speaker: Speaker, stop: asyncio.Event) -> None:
    """Whatever becomes of one writing, begin again with what the database shows."""
    while not stop.is_set():
        with suppress(errors.CCNError):
            instance = await speaker.hosted()
            while not stop.is_set():
                if not speaker.quiet.exists():
                    await speaker.say(instance)
                await _pause(stop)
        await _pause(stop)


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), PAUSE_S)


class Speaker:
    """A scripted instance on this node, and the record of what it was promised."""

    def __init__(self, pool: Pool, writer: Writer, folder: Path) -> None:
        self.quiet = folder / "quiet"
        self._pool, self._writer = pool, writer
        self._acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._mood = random.Random(writer.node)

    async def hosted(self) -> Instance:
        """The instance that this node hosts, which may have outlived the process before this one."""
        for known in await instances.list_alive(self._pool, host=self._writer.node):
            if known.status is instances.InstanceStatus.RUNNING:
                return known
        now_ms = time.time_ns() // 1_000_000
        ada = CharacterId("ada")
        await characters.import_plate(self._pool, self._writer, ada, "Ada", "# Ada", "chaos")
        here = ConversationId(ids.make_uuid7(now_ms, secrets.token_bytes(10)))
        await self._writer.submit(conversations.BeginConversation(here, ada))
        new = InstanceId(ids.make_uuid7(now_ms, secrets.token_bytes(10)))
        spawned = await self._writer.submit(instances.SpawnInstance(new, here, "scripted", 1))
        return await self._writer.submit(
            instances.ChangeInstance(spawned, instances.InstanceStatus.RUNNING, "scripted")
        )

    async def say(self, instance: Instance) -> None:
        """One message and the vector after it; now and then the instance speaks out of character."""
        text = secrets.token_hex(16)
        append = AppendMessage(instance.conversation, Role.USER, text, ANN, instance.epoch)
        said = await self._writer.submit(append)
        digest = hashlib.sha256(text.encode()).hexdigest()
        os.write(self._acknowledged, f"{instance.conversation} {said.seq} {digest}\n".encode())
        away = 0.3 if self._mood.random() < 0.1 else 0.02
        scores = tuple(round(UNIT * (0.5 + self._mood.uniform(-away, away))) for _ in AXES)
        await self._writer.submit(
            RecordScore(instance.conversation, said.seq, Vector(scores), "scripted/v1", instance.id)
        )
