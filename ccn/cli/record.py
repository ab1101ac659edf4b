"""`ccn record …`: what an outsider gets: the file, the newest checkpoint, the proof of a message."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from ccn.cli import asking
from ccn.cli.asking import Data, Url

if TYPE_CHECKING:
    from ccn.store.proofs import Final, Proved

app = typer.Typer(
    help="Hand the record to somebody who trusts neither CCN nor its database.", no_args_is_help=True
)

_Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; `ccn-verify FILE` checks it.")],
    database_url: Url = "",
    data: Data = None,
) -> None:
    """Write the whole record into a file that `ccn-verify` checks anywhere."""
    if file.is_dir():
        from ccn import errors  # noqa: PLC0415 - start-up must be quick

        raise errors.InputInvalid(f"{file} is a folder: name a file in it")
    asyncio.run(_export(file, database_url, data))


@app.command()
def checkpoint(database_url: Url = "", data: Data = None, as_json: _Json = False) -> None:
    """Print the newest final checkpoint. Keep it: no record without it is this one."""
    found = asyncio.run(_checkpoint(database_url, data))
    if as_json:
        _print({"height": found.height, "size": found.size, "note": found.note})
    else:
        typer.echo(found.note, nl=False)


@app.command()
def prove(
    conversation: Annotated[UUID, typer.Argument(help="The conversation.")],
    seq: Annotated[int, typer.Argument(min=1, help="The number of the message in it.")],
    database_url: Url = "",
    data: Data = None,
    as_json: _Json = False,
) -> None:
    """Prove that a message is in the record under a final checkpoint; checked before it is printed."""
    proved = asyncio.run(_prove(conversation, seq, database_url, data))
    path = [base64.b64encode(each).decode() for each in proved.path]
    if as_json:
        _print(
            {
                "conversation": str(conversation),
                "seq": seq,
                "leaf": proved.body.decode(),
                "hash": proved.leaf.hex(),
                "index": proved.index,
                "size": proved.final.size,
                "path": path,
                "checkpoint": proved.final.note,
            }
        )
        return
    typer.echo(f"message {seq} of {conversation}")
    typer.echo(f"  is leaf {proved.index} of {proved.final.size}, hash {proved.leaf.hex()}")
    typer.echo(f"  leaf: {proved.body.decode()}")
    typer.echo(f"  path to the root, from the leaf up ({len(path)} hashes, RFC 6962):")
    for each in path:
        typer.echo(f"    {each}")
    typer.echo(f"  checkpoint of block {proved.final.height}, which a quorum cosigned:\n")
    typer.echo(proved.final.note, nl=False)


@app.command()
def redact(  # noqa: PLR0917 - the options of a command
    conversation: Annotated[UUID, typer.Argument(help="The conversation.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")],
    by: Annotated[str, typer.Option("--by", help="Who asks; it is kept in the record.")],
    first: Annotated[int, typer.Option(min=1, help="The first message.")] = 1,
    last: Annotated[int | None, typer.Option(min=1, help="The last one; by default the newest.")] = None,
    database_url: Url = "",
    data: Data = None,
    as_json: _Json = False,
) -> None:
    """Take the content of messages out, for ever. The record says by whom and why, and still verifies."""
    body: dict[str, object] = {"conversation": str(conversation), "first": first, "reason": reason}
    if last is not None:
        body["last"] = last
    told = asking.ask("redact", body, by, database_url, data, quiet=as_json)
    if as_json:
        _print(told)
    else:
        typer.echo(f"messages {told['first']} to {told['last']} of {conversation} are redacted")


async def _export(file: Path, database_url: str, data: Path | None) -> None:
    from ccn import errors  # noqa: PLC0415 - start-up must be quick
    from ccn.store import export as exports  # noqa: PLC0415

    beside = file.with_name(f".{file.name}.part")
    try:
        with beside.open("wb") as opened:
            async with asking.connected(database_url, data) as pool:
                written = await exports.export(pool, opened)
        beside.replace(file)  # so that what bears the name is whole
    except OSError as refused:
        raise errors.InputInvalid(f"{file} cannot be written: {refused.strerror}") from refused
    finally:
        beside.unlink(missing_ok=True)
    typer.echo(f"{written.blocks} blocks and {written.leaves} leaves are in {file}", err=True)
    if written.waiting:
        typer.echo(f"{written.waiting} leaves are not sealed yet; the next round seals them", err=True)


async def _checkpoint(database_url: str, data: Path | None) -> Final:
    from ccn.node import keys  # noqa: PLC0415 - start-up must be quick
    from ccn.store import proofs  # noqa: PLC0415

    async with asking.connected(database_url, data) as pool:
        return await proofs.final(pool, keys.check)


async def _prove(conversation: UUID, seq: int, database_url: str, data: Path | None) -> Proved:
    from ccn.core.ids import ConversationId  # noqa: PLC0415
    from ccn.node import keys  # noqa: PLC0415
    from ccn.store import proofs  # noqa: PLC0415

    async with asking.connected(database_url, data) as pool:
        return await proofs.prove(pool, ConversationId(conversation), seq, keys.check)


def _print(shown: dict[str, object]) -> None:
    import json  # noqa: PLC0415

    typer.echo(json.dumps(shown, ensure_ascii=False))
