"""The process that the durability test kills: it appends as fast as it can and tells what was acknowledged.

Started once, it forks a writer for every line `NODE SEED` on its input, so that a writer is up in
milliseconds. Each writer prints its process id and then one line for every acknowledged message. A line
`mark` is answered at once: whatever a writer that is dead by then has printed comes before the answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime
from uuid import UUID

from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.ids import ConversationId, NodeId
from ccn.core.message import Role
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.writing.writer import Writer
from tests.support import processes
from tests.support.speakers import ANN

CALLERS_PER_CONVERSATION = 4


def main(url: str, *conversations: str) -> None:
    """Fork a writer for every line of input that names one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    itself = os.getpid()
    for line in sys.stdin:
        if line == "mark\n":
            _tell("marked")
            continue
        node, seed = line.split()
        if os.fork() == 0:
            processes.die_with(itself)
            sys.stdin.close()
            _tell("born", os.getpid())
            asyncio.run(_append(url, node, seed, [ConversationId(UUID(each)) for each in conversations]))
            os._exit(0)


async def _append(url: str, node: str, seed: str, conversations: list[ConversationId]) -> None:
    database = settings.DatabaseSettings(url=SecretStr(url), statement_timeout_s=10, connect_timeout_s=2)
    writer = Writer(database, NodeId(node), lambda: datetime.now(UTC))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run(), name="writer")
        for caller in range(CALLERS_PER_CONVERSATION):
            for conversation in conversations:
                tasks.create_task(_talk(writer, conversation, f"{seed}/{caller}"))


async def _talk(writer: Writer, conversation: ConversationId, name: str) -> None:
    lengths = random.Random(name)
    for number in range(1_000_000):
        words = f"{name}/{number} {'x' * lengths.randrange(600)}"
        try:
            said = await writer.submit(AppendMessage(conversation, Role.USER, words, ANN))
        except errors.OutcomeUnknown:
            _tell("unknown", conversation, name, number)
        except errors.Unavailable:
            await asyncio.sleep(0.02)
        else:
            _tell("said", conversation, said.seq, len(words), words.partition(" ")[0])


def _tell(*words: object) -> None:
    # One write, shorter than PIPE_BUF: a line is there whole or not at all, whenever the process is killed.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
