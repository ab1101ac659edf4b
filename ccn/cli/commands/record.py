"""`ccn record …`: gives outsiders the record, its newest checkpoint and proofs, and redacts messages.

Separate from `ccn-verify`, which checks what these commands write and shares no code with them.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from ccn import errors
from ccn.cli.output import printing
from ccn.cli.reach import ask
from ccn.cli.reach.fields import Fields
from ccn.cli.reach.options import ClusterOptions, DatabaseOptions, add_options
from ccn.cli.reach.target import DatabaseTarget
from ccn.core.ids import ConversationId
from ccn.node.signing import signing_key
from ccn.store.connection.pool import Pool
from ccn.store.rounds import export as exports
from ccn.store.rounds import proofs
from ccn.store.rounds.export import ExportCounts
from ccn.store.rounds.proofs import ProvenGrowth, ProvenMessage
from ccn.store.upkeep import scrub as scrubbing

app = typer.Typer(
    help="Hand the record to somebody who trusts neither CCN nor its database.", no_args_is_help=True
)


@app.command()
@add_options(DatabaseOptions)
def export(
    reach: DatabaseOptions,
    file: Annotated[
        Path, typer.Argument(help="The file to write; `ccn-verify FILE` checks it.", show_default=False)
    ],
) -> None:
    """Write the whole record into a file that `ccn-verify` checks anywhere."""
    if file.is_dir():
        raise errors.InputInvalid(f"{file} is a folder: name a file in it")
    counts = reach.run(lambda pool: export_record(pool, file))
    if reach.as_json:
        fields = {"blocks": counts.blocks, "leaves": counts.leaves, "waiting": counts.waiting}
        printing.say_json({"file": str(file), **fields})
        return
    printing.say(f"blocks: {counts.blocks}, leaves: {counts.leaves}, written to {file}", err=True)
    if counts.waiting:
        printing.say(f"leaves that the next round seals: {counts.waiting}", err=True)


@app.command()
@add_options(DatabaseOptions)
def checkpoint(reach: DatabaseOptions) -> None:
    """Print the newest final checkpoint. Keep it: a record that does not contain it is not this one."""
    final = reach.run(lambda pool: proofs.load_final(pool, signing_key.check_signature))
    if reach.as_json:
        printing.say_json({"height": final.height, "size": final.size, "note": final.note})
    else:
        printing.say(final.note, nl=False)


@app.command()
@add_options(DatabaseOptions)
def prove(
    reach: DatabaseOptions,
    conversation: Annotated[
        UUID | None, typer.Argument(help="The id of the conversation.", show_default=False)
    ] = None,
    seq: Annotated[
        int | None,
        typer.Argument(min=1, help="The number of the message in the conversation.", show_default=False),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Prove instead that the record has only grown since the block of this height.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --since: the height of the newer block; the newest final one if left out.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Prove that a message is in the record, or that the record has only grown.

    The proof is checked before it is printed. A message is proved under the newest final checkpoint. With
    --since, two final checkpoints are printed with the hashes from which the roots of both follow (RFC
    6962): nothing before the first checkpoint was changed.
    """
    if since is not None:
        if conversation is not None or seq is not None:
            raise typer.BadParameter("give a message or --since, not both", param_hint="--since")
        growth = reach.run(
            lambda pool: proofs.prove_growth(pool, since, until, signing_key.check_signature)
        )
        _print_growth(growth, as_json=reach.as_json)
        return
    if conversation is None or seq is None or until is not None:
        raise typer.BadParameter("give a conversation and the number of a message in it, or --since HEIGHT")
    wanted = ConversationId(conversation)
    proven = reach.run(lambda pool: proofs.prove_message(pool, wanted, seq, signing_key.check_signature))
    _print_message(proven, conversation, seq, as_json=reach.as_json)


def _print_message(proven: ProvenMessage, conversation: UUID, seq: int, *, as_json: bool) -> None:
    path = _encode_path(proven.path)
    if as_json:
        printing.say_json(
            {
                "conversation": str(conversation),
                "seq": seq,
                "leaf": proven.body.decode(),
                "hash": proven.leaf.hex(),
                "index": proven.index,
                "size": proven.final.size,
                "path": path,
                "checkpoint": proven.final.note,
            }
        )
        return
    printing.say(f"message {seq} of {conversation}")
    printing.say(f"  is leaf {proven.index} of {proven.final.size}, hash {proven.leaf.hex()}")
    printing.say(f"  leaf: {proven.body.decode()}")
    printing.say(f"  path to the root, from the leaf up ({len(path)} hashes, RFC 6962):")
    for line in path:
        printing.say(f"    {line}")
    printing.say(f"  checkpoint of block {proven.final.height}, which a quorum cosigned:\n")
    printing.say(proven.final.note, nl=False)


def _print_growth(growth: ProvenGrowth, *, as_json: bool) -> None:
    path = _encode_path(growth.path)
    older, newer = growth.older, growth.newer
    if as_json:
        printing.say_json(
            {
                "since": older.height,
                "until": newer.height,
                "old_size": older.size,
                "new_size": newer.size,
                "path": path,
                "old_checkpoint": older.note,
                "new_checkpoint": newer.note,
            }
        )
        return
    printing.say(f"the record of {newer.size} leaves at block {newer.height}")
    printing.say(f"  begins with the one of {older.size} leaves at block {older.height}")
    printing.say(f"  consistency proof ({len(path)} hashes, RFC 6962):")
    for line in path:
        printing.say(f"    {line}")
    for final in (older, newer):
        printing.say(f"  checkpoint of block {final.height}, which a quorum cosigned:\n")
        printing.say(final.note)


def _encode_path(path: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(hashed).decode() for hashed in path]


@app.command()
@add_options(ClusterOptions)
def redact(
    reach: ClusterOptions,
    *,
    conversation: Annotated[UUID, typer.Argument(help="The id of the conversation.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; the record keeps it.", show_default=False)],
    by: Annotated[str, typer.Option("--by", help="Who asks; the record keeps it.", show_default=False)],
    first: Annotated[int, typer.Option(min=1, help="The number of the first message.")] = 1,
    last: Annotated[
        int | None,
        typer.Option(
            min=1, help="The number of the last message; the newest if left out.", show_default=False
        ),
    ] = None,
    with_recollections: Annotated[
        bool,
        typer.Option(
            "--with-recollections",
            help="Also redact everything in later conversations whose prompts held these words.",
        ),
    ] = False,
    with_scrub: Annotated[
        bool,
        typer.Option("--scrub", help="Then do what `ccn record scrub` does, which needs the database."),
    ] = False,
) -> None:
    """Redact the content of messages for ever. The record says by whom and why, and still verifies.

    The title, streams, search index and request keys of those messages are removed too. The files of the
    database may hold the content until `ccn record scrub`, backups and replicas until they are replaced.
    """
    body: dict[str, object] = {"conversation": str(conversation), "first": first, "reason": reason}
    if last is not None:
        body["last"] = last
    if with_recollections:
        body["with_recollections"] = True
    owner = reach.find_owner("--scrub") if with_scrub else None
    with reach.open_source() as cluster:
        outcome = cluster.ask("redact", body, by)
    if not reach.as_json:
        printing.say(f"messages {outcome['first']} to {outcome['last']} of {conversation} are redacted")
        _print_recollections(outcome, with_recollections=with_recollections)
    if owner is not None:
        outcome |= _scrub_database(owner, quiet=reach.as_json)
    if reach.as_json:
        printing.say_json(outcome)
    elif owner is None:
        printing.say(
            f"The files of the database may hold the words until `ccn record scrub`. {_OTHER_COPIES}"
        )


@app.command()
@add_options(DatabaseOptions)
def scrub(reach: DatabaseOptions) -> None:
    """Remove what was redacted from the files of the database. It rewrites tables: choose a quiet hour.

    It rewrites messages, message_documents, turn_events, turns and conversations (VACUUM FULL), and locks
    each of them meanwhile. That takes about as long, and as much space, as copying them. Nodes wait, and
    answer 503 to requests that wait too long. Then it renews the planner's statistics, and switches the
    write-ahead log until no older segment is left. It needs the role that owns the schema, and a
    superuser for all of it.
    """
    outcome = _scrub_database(reach.find_owner(), quiet=reach.as_json)
    if reach.as_json:
        printing.say_json(outcome)


_OTHER_COPIES = (
    "Backups, archived write-ahead log and replicas hold them too: take a new backup and delete the older "
    "ones, or wait until they expire; on a replica run CHECKPOINT once it has caught up, or build it anew."
)


def _scrub_database(at: DatabaseTarget, *, quiet: bool) -> Fields:
    def print_step(step: str) -> None:
        if not quiet:
            printing.say(step, err=True)

    scrubbed = asyncio.run(scrubbing.scrub_database(at.url, print_step))
    if not quiet:
        for left in scrubbed.left:
            printing.say(f"left as it is: {left}")
        printing.say(f"{', '.join(scrubbed.tables)} were written anew. {_OTHER_COPIES}")
    return {"scrubbed": list(scrubbed.tables), "left": list(scrubbed.left)}


def _print_recollections(outcome: Fields, *, with_recollections: bool) -> None:
    """Print later conversations that had the words in their prompts: replies there may quote them."""
    if later := outcome.get("recollected"):
        advice = (
            "; everything in them is redacted too"
            if with_recollections
            else ": --with-recollections redacts them too"
        )
        printing.say(f"prompts of {len(later)} later conversations held these words{advice}")
        for conversation in later:
            printing.say(f"  {conversation}")
    if further := outcome.get("further"):
        printing.say(f"prompts of {len(further)} more held words of those; they are left as they are")
        for conversation in further:
            printing.say(f"  {conversation}")


async def _write_record(pool: Pool, file: Path) -> ExportCounts:
    """Write it from the beginning: a replica may have failed half-way."""
    with file.open("wb") as opened:
        return await exports.export_record(pool, opened)


async def export_record(pool: Pool, file: Path) -> ExportCounts:
    """Write it beside the file, from a replica if one will do, and then in its place."""
    partial = file.with_name(f".{file.name}.part")
    try:
        async with ask.open_replica_reads(pool) as reads:
            counts = await reads.read(lambda each: _write_record(each, partial))
        partial.replace(file)  # so that a file of this name is always whole
    except OSError as refused:
        raise errors.InputInvalid(f"{file} cannot be written: {refused.strerror}") from refused
    finally:
        partial.unlink(missing_ok=True)
    return counts
