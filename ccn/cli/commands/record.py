"""`ccn record …`: what an outsider gets: the file, the newest checkpoint, the proof of a message."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from ccn import errors
from ccn.cli.output import printing
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import Data, DatabaseTarget, Json, Url
from ccn.core.ids import ConversationId
from ccn.node.signing import signing_key
from ccn.store.rounds import export as exports
from ccn.store.rounds import proofs
from ccn.store.rounds.export import ExportCounts
from ccn.store.rounds.proofs import FinalCheckpoint, ProvenGrowth, ProvenMessage
from ccn.store.upkeep import scrub as scrubbing

app = typer.Typer(
    help="Hand the record to somebody who trusts neither CCN nor its database.", no_args_is_help=True
)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; `ccn-verify FILE` checks it.")],
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write the whole record into a file that `ccn-verify` checks anywhere."""
    if file.is_dir():
        raise errors.InputInvalid(f"{file} is a folder: name a file in it")
    at = target.find_database(database_url, data, quiet=as_json)
    written = asyncio.run(_export_record(file, at))
    if as_json:
        told = {"blocks": written.blocks, "leaves": written.leaves, "waiting": written.waiting}
        _print_json({"file": str(file), **told})
        return
    printing.say(f"blocks: {written.blocks}, leaves: {written.leaves}, written to {file}", err=True)
    if written.waiting:
        printing.say(f"not sealed yet, but by the next round: {written.waiting}", err=True)


@app.command()
def checkpoint(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """Print the newest final checkpoint. Keep it: no record without it is this one."""
    found = asyncio.run(_load_checkpoint(target.find_database(database_url, data, quiet=as_json)))
    if as_json:
        _print_json({"height": found.height, "size": found.size, "note": found.note})
    else:
        printing.say(found.note, nl=False)


@app.command()
def prove(  # noqa: PLR0917 - the options of a command
    conversation: Annotated[
        UUID | None, typer.Argument(help="The conversation.", show_default=False)
    ] = None,
    seq: Annotated[
        int | None, typer.Argument(min=1, help="The number of the message in it.", show_default=False)
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            min=1, help="Prove instead that the record only grew since this block.", show_default=False
        ),
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --since: up to this block; by default the newest final one.",
            show_default=False,
        ),
    ] = None,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Prove that a message is in the record, or that the record only grew; checked before it is printed.

    A message is proved under the newest final checkpoint. With --since, two final checkpoints are printed
    and the hashes from which the roots of both follow (RFC 6962): nothing before the first was changed.
    """
    if since is not None:
        if conversation is not None or seq is not None:
            raise typer.BadParameter("give a message, or --since", param_hint="--since")
        growth = asyncio.run(
            _prove_growth(since, until, target.find_database(database_url, data, quiet=as_json))
        )
        _print_growth(growth, as_json=as_json)
        return
    if conversation is None or seq is None or until is not None:
        raise typer.BadParameter("give a conversation and the number of a message in it, or --since HEIGHT")
    proven = asyncio.run(
        _prove_message(conversation, seq, target.find_database(database_url, data, quiet=as_json))
    )
    _print_message(proven, conversation, seq, as_json=as_json)


def _print_message(proven: ProvenMessage, conversation: UUID, seq: int, *, as_json: bool) -> None:
    path = _encode_path(proven.path)
    if as_json:
        _print_json(
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
        _print_json(
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
def redact(  # noqa: PLR0917 - the options of a command
    conversation: Annotated[UUID, typer.Argument(help="The conversation.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")],
    by: Annotated[str, typer.Option("--by", help="Who asks; it is kept in the record.")],
    first: Annotated[int, typer.Option(min=1, help="The first message.")] = 1,
    last: Annotated[int | None, typer.Option(min=1, help="The last one; by default the newest.")] = None,
    with_recollections: Annotated[
        bool,
        typer.Option(
            "--with-recollections",
            help="And all that was said in later conversations whose prompts held these words.",
        ),
    ] = False,
    scrubbing: Annotated[
        bool, typer.Option("--scrub", help="Then do what `ccn record scrub` does; see its help.")
    ] = False,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take the content of messages out, for ever. The record says by whom and why, and still verifies.

    With it go the title, streams, search index and request keys of those messages. In the files of the
    database it may stay until `ccn record scrub`; in backups and on replicas until those are replaced.
    """
    body: dict[str, object] = {"conversation": str(conversation), "first": first, "reason": reason}
    if last is not None:
        body["last"] = last
    if with_recollections:
        body["with_recollections"] = True
    at = target.find_database(database_url, data, quiet=as_json)
    owner = target.find_owner(database_url, data, quiet=True) if scrubbing else None
    told = ask.ask_cluster("redact", body, by, at, quiet=as_json)
    if not as_json:
        printing.say(f"messages {told['first']} to {told['last']} of {conversation} are redacted")
        _print_recollections(told, done=with_recollections)
    if owner is not None:
        told |= _scrub_database(owner, quiet=as_json)
    if as_json:
        _print_json(told)
    elif owner is None:
        printing.say(
            f"The words may still lie in files of the database until `ccn record scrub`. {_ELSEWHERE}"
        )


@app.command()
def scrub(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """Have the database's files let go of what was redacted. It rewrites tables: choose a quiet hour.

    messages, message_documents, turn_events, turns and conversations are written anew (VACUUM FULL), each
    locked against reading and writing meanwhile. It takes about as long as copying them, and as much room.
    Nodes wait, and answer 503 to what waits too long. Then the planner's statistics are renewed, and the
    write-ahead log is switched until no segment is left that was written before. It takes the role that
    owns the schema, and a superuser for all of it.
    """
    done = _scrub_database(target.find_owner(database_url, data, quiet=as_json), quiet=as_json)
    if as_json:
        _print_json(done)


_ELSEWHERE = (
    "Backups, archived write-ahead log and replicas hold them too: take a new backup and delete the older "
    "ones, or wait until they expire; on a replica run CHECKPOINT once it has caught up, or build it anew."
)


def _scrub_database(at: DatabaseTarget, *, quiet: bool) -> dict[str, object]:
    def print_step(what: str) -> None:
        if not quiet:
            printing.say(what, err=True)

    done = asyncio.run(scrubbing.scrub_database(at.url, print_step))
    if not quiet:
        for left in done.left:
            printing.say(f"left as it is: {left}")
        printing.say(f"{', '.join(done.tables)} were written anew. {_ELSEWHERE}")
    return {"scrubbed": list(done.tables), "left": list(done.left)}


def _print_recollections(told: dict[str, Any], *, done: bool) -> None:
    """Later conversations that had the words in their prompts, so that replies there may quote them."""
    if later := told.get("recollected"):
        advice = (
            "; all that was said there is redacted too"
            if done
            else ": --with-recollections redacts them too"
        )
        printing.say(f"prompts of {len(later)} later conversations held these words{advice}")
        for each in later:
            printing.say(f"  {each}")
    if further := told.get("further"):
        printing.say(f"prompts of {len(further)} more held words of those, which are left as they are")
        for each in further:
            printing.say(f"  {each}")


async def _export_record(file: Path, at: DatabaseTarget) -> ExportCounts:
    beside = file.with_name(f".{file.name}.part")
    try:
        with beside.open("wb") as opened:
            async with ask.open_database(at) as pool:
                written = await exports.export_record(pool, opened)
        beside.replace(file)  # so that what bears the name is whole
    except OSError as refused:
        raise errors.InputInvalid(f"{file} cannot be written: {refused.strerror}") from refused
    finally:
        beside.unlink(missing_ok=True)
    return written


async def _load_checkpoint(at: DatabaseTarget) -> FinalCheckpoint:
    async with ask.open_database(at) as pool:
        return await proofs.load_final(pool, signing_key.check_signature)


async def _prove_message(conversation: UUID, seq: int, at: DatabaseTarget) -> ProvenMessage:
    async with ask.open_database(at) as pool:
        return await proofs.prove_message(
            pool, ConversationId(conversation), seq, signing_key.check_signature
        )


async def _prove_growth(since: int, until: int | None, at: DatabaseTarget) -> ProvenGrowth:
    async with ask.open_database(at) as pool:
        return await proofs.prove_growth(pool, since, until, signing_key.check_signature)


def _print_json(shown: dict[str, object]) -> None:
    printing.say(json.dumps(shown, ensure_ascii=False))
