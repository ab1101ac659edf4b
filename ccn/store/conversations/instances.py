"""Instances: which node hosts which conversation under which epoch, and all that ever became of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from ccn import errors
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, UserId
from ccn.core.ledger.commitment import LeafKind
from ccn.store.connection.pool import NamedRow, Pool
from ccn.store.writing.batch import Batch, Write, micros
from ccn.store.writing.quotas import Quota


class InstanceStatus(StrEnum):
    """How an instance is."""

    SPAWNING = "spawning"
    RUNNING = "running"
    RESTORING = "restoring"
    QUARANTINED = "quarantined"
    TERMINATED = "terminated"
    FAILED = "failed"


ENDED = frozenset({InstanceStatus.TERMINATED, InstanceStatus.FAILED})


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as it stands."""

    id: InstanceId
    conversation: ConversationId
    character: CharacterId
    host: NodeId
    epoch: int
    status: InstanceStatus
    model: str
    plate_version: int
    spawned_at: datetime
    heartbeat_at: datetime
    drift: float | None = None
    validation: Mapping[str, object] | None = None
    version: int = 1
    owner: UserId | None = None
    """Whose conversation it is."""


@dataclass(frozen=True, slots=True)
class HeartbeatPatience:
    """After how long without a heartbeat an instance is given up: its host is seen, or is gone as well."""

    silent_s: float
    gone_s: float


@dataclass(frozen=True, slots=True)
class SpawnInstance(Write[Instance]):
    """A new instance of a conversation, hosted here; refused while another one is alive."""

    id: InstanceId
    conversation: ConversationId
    model: str
    plate_version: int
    reason: str = "spawned"
    owner: UserId | None = None
    quota: Quota | None = None

    def needs_head_of(self) -> ConversationId | None:
        """Name the conversation, because the epoch follows its last one."""
        return self.conversation

    def prepare(self, batch: Batch) -> Instance:
        """Add one row, its first version, and the leaf of that."""
        head = batch.heads.get(self.conversation)
        if head is None:
            raise errors.NotFound("there is no such conversation")
        if not head.open:
            raise errors.Conflict("the conversation is closed")
        epoch, character = head.epoch + 1, CharacterId(head.character)
        new = Instance(
            self.id, self.conversation, character, batch.node, epoch, InstanceStatus.SPAWNING, self.model,
            self.plate_version, batch.now, batch.now, owner=self.owner,
        )  # fmt: skip
        batch.set_quota(self.owner, self.quota)
        where = (new.id, new.conversation, new.character, new.host, new.epoch, new.status.value)
        batch.add_row(_SPAWN, *where, new.model, new.plate_version, batch.now)
        batch.heads[self.conversation] = head._replace(epoch=epoch)
        _add_life(batch, new, self.reason)
        return new


@dataclass(frozen=True, slots=True)
class ChangeInstance(Write[Instance]):
    """Another status of an instance this node hosts, and why; nothing happens to an instance silently."""

    instance: Instance
    status: InstanceStatus
    reason: str
    drift: float | None = None
    validation: Mapping[str, object] | None = None

    def prepare(self, batch: Batch) -> Instance:
        """Add the next version, unless another was added first or the instance has ended."""
        if self.instance.status in ENDED:
            raise errors.TransitionRefused("an instance that ended stays ended")
        return _add_version(
            batch,
            replace(
                self.instance,
                status=self.status,
                heartbeat_at=self.instance.heartbeat_at if self.status in ENDED else batch.now,
                drift=self.instance.drift if self.drift is None else self.drift,
                validation=self.instance.validation if self.validation is None else self.validation,
            ),
            self.reason,
        )


@dataclass(frozen=True, slots=True)
class AdoptInstance(Write[Instance]):
    """Take over an instance whose host died: the next epoch, here. The old host is fenced from now on."""

    instance: Instance
    reason: str

    def needs_head_of(self) -> ConversationId | None:
        """Its head carries the epoch."""
        return self.instance.conversation

    def prepare(self, batch: Batch) -> Instance:
        """Compare and swap on the version and the epoch that were read."""
        if self.instance.status in ENDED:
            raise errors.TransitionRefused("an instance that ended stays ended")
        head = batch.heads.get(self.instance.conversation)
        if head is None or head.epoch != self.instance.epoch:
            raise errors.StaleHost("another node adopted the instance first")
        epoch = self.instance.epoch + 1
        batch.heads[self.instance.conversation] = head._replace(epoch=epoch)
        adopted = replace(self.instance, host=batch.node, epoch=epoch, heartbeat_at=batch.now)
        return _add_version(batch, adopted, self.reason)


async def load_instance(pool: Pool, instance: InstanceId) -> Instance:
    """Load one instance, or raise NotFound."""
    row = await pool.row(_GET, instance)
    if row is None:
        raise errors.NotFound("there is no such instance")
    return instance_from_row(row)


async def list_alive(pool: Pool, *, host: NodeId | None = None) -> list[Instance]:
    """List the instances that have not ended, of one node or of all."""
    return [instance_from_row(row) for row in await pool.rows(_ALIVE, host)]


async def list_page(
    pool: Pool, owner: UserId | None, after: InstanceId | None, limit: int
) -> list[Instance]:
    """List a page of living instances, of one user or of all, in the order of spawning."""
    return [instance_from_row(row) for row in await pool.rows(_PAGE, owner, after, limit)]


async def find_in_conversation(pool: Pool, conversation: ConversationId) -> Instance | None:
    """Find the instance that is alive in a conversation."""
    row = await pool.row(_OF_CONVERSATION, conversation)
    return None if row is None else instance_from_row(row)


async def list_at_rest(pool: Pool, owner: UserId, limit: int) -> list[Instance]:
    """List one user's instances that no turn waits for, the longest unused first."""
    return [instance_from_row(row) for row in await pool.rows(_AT_REST, owner, limit)]


async def is_alone(pool: Pool, conversation: ConversationId, character: CharacterId) -> bool:
    """Tell whether the character has no instance alive outside this conversation."""
    return bool(await pool.value(_ALONE, conversation, character))


async def keep_alive(pool: Pool, host: NodeId, mine: Collection[InstanceId]) -> dict[InstanceId, int]:
    """Say that these are alive here; those that still are this node's, with their epochs.

    Not history, so no leaf. The database's clock counts, because nodes compare each other's heartbeats.
    """
    return {row["id"]: row["epoch"] for row in await pool.rows(_BEAT, host, list(mine))}


async def release_instances(pool: Pool, host: NodeId, mine: Collection[InstanceId]) -> None:
    """Leave these to whoever wants them: as if nothing had been heard of them for very long."""
    await pool.rows(_RELEASE, host, list(mine))


async def list_abandoned(
    pool: Pool,
    host: NodeId,
    mine: Collection[InstanceId],
    seen: Collection[NodeId] | None,
    patience: HeartbeatPatience,
) -> list[Instance]:
    """List instances whose host fell silent, or whose host is this node and does not know of them.

    `seen` names the nodes that answer, or is None if nobody can tell. Instances of all others are given up
    sooner.
    """
    visible = None if seen is None else list(seen)
    rows = await pool.rows(_ABANDONED, host, list(mine), visible, patience.silent_s, patience.gone_s)
    return [instance_from_row(row) for row in rows]


def _add_version(batch: Batch, changed: Instance, reason: str) -> Instance:
    new = replace(changed, version=changed.version + 1)
    ended_at = batch.now if new.status in ENDED else None
    before = (new.id, new.version - 1, new.host, new.epoch)
    what = (new.status.value, new.drift, new.validation, ended_at, new.heartbeat_at)
    batch.add_row(_CHANGE, *before, *what, every_row=True)
    _add_life(batch, new, reason)
    return new


def _add_life(batch: Batch, new: Instance, reason: str) -> None:
    leaf = batch.add_leaf(
        LeafKind.INSTANCE,
        {
            "at": micros(batch.now),
            "conversation": str(new.conversation),
            "epoch": new.epoch,
            "host": new.host,
            "instance": str(new.id),
            "model": new.model,
            "plate": new.plate_version,
            "reason": reason,
            "status": new.status.value,
            "version": new.version,
        },
    )
    what = (new.host, new.epoch, new.status.value, reason)
    batch.add_row(_LIVE, new.id, new.version, batch.now, *what, batch.node, leaf.number)


def instance_from_row(row: NamedRow) -> Instance:
    """Make an instance from a row."""
    return Instance(
        row["id"],
        row["conversation_id"],
        row["character_id"],
        row["host"],
        row["epoch"],
        InstanceStatus(row["status"]),
        row["model"],
        row["plate_version"],
        row["spawned_at"],
        row["heartbeat_at"],
        row["drift"],
        row["validation"],
        row["version"],
        row["owner_id"],
    )


_SPAWN = """
    INSERT INTO instance_registry
        (id, conversation_id, character_id, host, epoch, status, model, plate_version, heartbeat_at,
         spawned_at)
    SELECT id, conversation_id, character_id, host, epoch, status, model, plate_version, at, at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                $8::int[], $9::timestamptz[])
        AS new (id, conversation_id, character_id, host, epoch, status, model, plate_version, at)
"""
_CHANGE = """
    UPDATE instance_registry i
    SET version = c.version + 1, host = c.host, epoch = c.epoch, status = c.status, drift = c.drift,
        validation = c.validation, ended_at = c.ended_at,
        heartbeat_at = greatest(i.heartbeat_at, c.beaten_at)
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::bigint[], $5::text[], $6::real[], $7::jsonb[],
                $8::timestamptz[], $9::timestamptz[])
        AS c (id, version, host, epoch, status, drift, validation, ended_at, beaten_at)
    WHERE i.id = c.id AND i.version = c.version
"""
_LIVE = """
    INSERT INTO instance_lives
        (instance_id, version, at, host, epoch, status, reason, leaf_node, leaf_number)
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::bigint[], $6::text[],
                         $7::text[], $8::text[], $9::bigint[])
"""
COLUMNS = """
    id, conversation_id, character_id, host, epoch, status, model, plate_version, spawned_at,
    heartbeat_at, drift, validation, version, owner_id
"""
_OF_INSTANCE = ", ".join(f"i.{column.strip()}" for column in COLUMNS.split(","))
_GET = f"SELECT {COLUMNS} FROM instance_registry WHERE id = $1"  # noqa: S608 - constants, as below
_ALIVE = f"""
    SELECT {COLUMNS} FROM instance_registry WHERE ended_at IS NULL AND ($1::text IS NULL OR host = $1)
    ORDER BY spawned_at, id
"""  # noqa: S608
_PAGE = f"""
    SELECT {COLUMNS} FROM instance_registry
    WHERE ended_at IS NULL AND ($2::uuid IS NULL OR id > $2) AND ($1::uuid IS NULL OR owner_id = $1)
    ORDER BY id LIMIT $3
"""  # noqa: S608
_OF_CONVERSATION = f"""
    SELECT {COLUMNS} FROM instance_registry WHERE conversation_id = $1 AND ended_at IS NULL
"""  # noqa: S608
_AT_REST = f"""
    SELECT {_OF_INSTANCE} FROM instance_registry i JOIN conversations c ON c.id = i.conversation_id
    WHERE i.owner_id = $1 AND i.ended_at IS NULL AND i.status = 'running'
      AND NOT EXISTS (SELECT FROM turns t
                      WHERE t.conversation_id = i.conversation_id AND t.status IN ('accepted', 'running'))
    ORDER BY greatest(c.head_at, i.spawned_at), i.id LIMIT $2
"""  # noqa: S608
_ALONE = """
    SELECT NOT EXISTS (SELECT FROM instance_registry
                       WHERE character_id = $2 AND conversation_id <> $1 AND ended_at IS NULL)
"""
_BEAT = """
    UPDATE instance_registry SET heartbeat_at = clock_timestamp()
    WHERE id = ANY ($2::uuid[]) AND host = $1 AND ended_at IS NULL RETURNING id, epoch
"""
_RELEASE = """
    UPDATE instance_registry SET heartbeat_at = 'epoch'
    WHERE id = ANY ($2::uuid[]) AND host = $1 AND ended_at IS NULL
"""
_ABANDONED = f"""
    SELECT {COLUMNS} FROM instance_registry
    WHERE ended_at IS NULL
      AND CASE WHEN host = $1 THEN id <> ALL ($2::uuid[])
               ELSE heartbeat_at < clock_timestamp() - make_interval(
                        secs => CASE WHEN $3::text[] IS NULL OR host = ANY ($3::text[])
                                     THEN $4::float8 ELSE $5::float8 END) END
    ORDER BY id LIMIT 1000
"""  # noqa: S608
