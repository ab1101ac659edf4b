"""A cluster over its database: reads rows, and asks by writing one that a node answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar
from uuid import UUID

from ccn import errors
from ccn.cli.reach import ask
from ccn.cli.reach.fields import Fields, missing_instance
from ccn.core.ids import ConversationId, InstanceId, NodeId
from ccn.node.operators import submission
from ccn.node.views import round_history
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, instances
from ccn.store.conversations.characters import Character
from ccn.store.conversations.instances import Instance
from ccn.store.operators import drains
from ccn.store.operators.drains import NodeLoad

T = TypeVar("T")

_SEALED_WITHIN_S = 5.0


class DatabaseSource:
    """A cluster over its database."""

    def __init__(self, runner: asyncio.Runner, pool: Pool, *, quiet: bool) -> None:
        self._runner = runner
        self._pool = pool
        self._quiet = quiet

    def ask(
        self,
        command: str,
        body: Mapping[str, object],
        by: str,
        *,
        node: str | None = None,
        patience_s: float = ask.PATIENCE_S,
    ) -> Fields:
        """Write the request down and look until it has an answer."""
        return self._run(
            ask.ask_on_database(
                self._pool, command, body, by, node=node, quiet=self._quiet, patience_s=patience_s
            )
        )

    def list_requests(self, limit: int, *, ended: bool) -> list[Fields]:
        """Read the newest requests."""
        return self._run(submission.list_newest(self._pool, limit, ended=ended))

    def take_back(self, request: UUID, by: str, reason: str) -> Fields:
        """Mark the request, and wait a moment until a node has sealed that."""
        return self._run(submission.take_back(self._pool, request, by, reason, _SEALED_WITHIN_S))

    def list_rounds(self, limit: int) -> list[Fields]:
        """Read the log of rounds."""
        return self._run(round_history.load_log(self._pool, limit))

    def load_round(self, height: int) -> Fields:
        """Read one block."""
        return self._run(round_history.load_block(self._pool, height))

    def list_validators(self) -> list[Fields]:
        """Read which nodes vote."""
        return self._run(round_history.load_voters(self._pool))

    def load_of_node(self, node: str) -> NodeLoad:
        """Count what a node leads, hosts and has yet to seal."""
        return self._run(drains.load_of_node(self._pool, NodeId(node)))

    def list_plates(self) -> list[Fields]:
        """Read the characters and who imported the newest version of each."""
        return [_character_to_fields(each) for each in self._run(characters.list_characters(self._pool))]

    def find_host(self, named: UUID) -> tuple[UUID, str]:
        """Read which node hosts the instance."""
        instance = self._run(find_instance(self._pool, named))
        return instance.id, instance.host

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(ask.end_as_interrupted(work))


async def find_instance(pool: Pool, named: UUID) -> Instance:
    """Load an instance by its id, or the one that lives in the conversation with this id."""
    living = await instances.find_in_conversation(pool, ConversationId(named))
    try:
        return living or await instances.load_instance(pool, InstanceId(named))
    except errors.NotFound:
        raise missing_instance(named) from None


def _character_to_fields(character: Character) -> Fields:
    return {
        "character": character.id,
        "name": character.name,
        "version": character.version,
        "at": character.imported_at.isoformat(),
        "by": character.imported_by,
    }
