"""The processes that the test of turns kills: nodes without doors, which talk to themselves.

Started once, it forks a node for every line `NODE SEED` on its input. Each node hosts, adopts, and says one
message after the other in every conversation, reading each reply to its end, until SIGUSR1 silences it. It
prints its process id, a line for every message that was accepted and one for every stream that was read.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import UUID

import structlog
from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.calls.call import Call, Delta, Piece, Reply, TokenUsage
from ccn.core.calls.price import CallSize
from ccn.core.ids import ConversationId, NodeId, UserId
from ccn.core.prompts.interview import QUESTIONS
from ccn.core.stream import StreamEvent
from ccn.node import assembly
from ccn.node.conversations import Conversations
from ccn.node.instances.forwarding import Forwarding
from ccn.node.spending.paid_model import Payer
from ccn.store.connection import pool
from ccn.store.writing.writer import Writer
from tests.support import processes
from tests.support.node.node_world import PASSES, new_id, text
from tests.support.speakers import ANN

WORDS = 6
QUICK = settings.InstancesSettings(heartbeat_s=0.05, adopt_after_s=0.4, chunk_ms=5)
_ASKS = frozenset(question.asks for question in QUESTIONS)


def main(url: str, *conversations: str) -> None:
    """Fork a node for every line of input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    itself = os.getpid()
    for line in sys.stdin:
        node, seed = line.split()
        if os.fork() == 0:
            processes.die_with(itself)
            sys.stdin.close()
            _tell("born", node, os.getpid())
            asyncio.run(_live(url, node, seed, [ConversationId(UUID(each)) for each in conversations]))
            os._exit(0)


async def _live(url: str, node: str, seed: str, talks: list[ConversationId]) -> None:
    database = settings.DatabaseSettings(url=SecretStr(url), pool_size=6)
    writer, never = Writer(database, NodeId(node), lambda: datetime.now(UTC)), asyncio.Event()
    quiet = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, quiet.set)
    async with pool.open(database, node) as connections, asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        lives = assembly.assemble_instances(
            connections,
            writer,
            Echo(random.Random(seed)),
            forwarding=Forwarding(NodeId(node), None),
            here=lambda: None,
            chosen=QUICK,
            claude=settings.ClaudeSettings(),
            new_id=new_id,
        )
        for part in lives.make_parts(never, 1.0).values():
            tasks.create_task(part)
        for nth, talk in enumerate(talks):
            tasks.create_task(_talk(lives.conversations, talk, f"{node}/{seed}/{nth}", quiet))


async def _talk(doors: Conversations, talk: ConversationId, name: str, quiet: asyncio.Event) -> None:
    number = 0
    while not quiet.is_set():
        words, number = f"{name}/{number}", number + 1
        try:
            turn = await doors.say(talk, words, ANN, idempotency_key=words)
        except errors.CCNError as refused:
            _tell("refused", type(refused).__name__)
            await asyncio.sleep(0.02)
            continue
        _tell("accepted", turn.id, turn.user_seq, words)
        told = list[StreamEvent]()
        async with aclosing(doors.follow_turn(turn.id)) as following:
            async for each in following:
                told.append(each)
        places = [each.position for each in told]
        whole = text(told) == reply_to(words) and places == sorted(set(places))
        _tell("read", turn.id, "whole" if whole else "broken")


class Echo:
    """Answers each message with words that tell which one it was."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Word by word, some of them after a moment."""
        asked = call.messages[-1].text
        reply = PASSES if asked in _ASKS else reply_to(asked).strip()
        for word in reply.split():
            await asyncio.sleep(self._chance.choice((0, 0, 0.004, 0.015)))
            yield Delta(word + " ")
        yield Reply(reply + " ", "end_turn", TokenUsage(1, 1), call.model)

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        """Nothing costs anything."""
        return who

    def release(self, who: Payer) -> None:
        """Nothing was put aside."""

    def check_allowance(self, owner: UserId | None) -> None:
        """Nobody spends anything."""

    async def is_short(self, who: Payer) -> bool:
        """Nor ever will."""
        return False

    async def await_reservations(self, payers: Iterable[Payer]) -> None:
        """Nothing is waited for."""


def reply_to(words: str) -> str:
    """What is answered to a message."""
    return " ".join(f"{nth}:{words}" for nth in range(WORDS)) + " "


def _tell(*words: object) -> None:
    # One write, shorter than PIPE_BUF: a line is there whole or not at all, whenever the process is killed.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
