"""`ccn record …`: what an outsider gets: the file, the newest checkpoint, the proof of a message."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from ccn.store.pool import Pool
    from ccn.store.proofs import Final, Proved

app = typer.Typer(
    help="Hand the record to somebody who trusts neither CCN nor its database.", no_args_is_help=True
)

_Url = Annotated[
    str,
    typer.Option(
        "--database-url",
        help="The database; by default that of the cluster running here, or the one in the settings.",
        show_default=False,
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option("--data", help="The folder of the cluster that `ccn up` runs.", show_default=False),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; `ccn-verify FILE` checks it.")],
    database_url: _Url = "",
    data: _Data = None,
) -> None:
    """Write the whole record into a file that `ccn-verify` checks anywhere."""
    asyncio.run(_export(file, database_url, data))


@app.command()
def checkpoint(database_url: _Url = "", data: _Data = None, as_json: _Json = False) -> None:
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
    database_url: _Url = "",
    data: _Data = None,
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


async def _export(file: Path, database_url: str, data: Path | None) -> None:
    from ccn import errors  # noqa: PLC0415 - start-up must be quick
    from ccn.store import export as exports  # noqa: PLC0415

    beside = file.with_name(f".{file.name}.part")
    try:
        with beside.open("wb") as opened:
            async with _connected(database_url, data) as pool:
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

    async with _connected(database_url, data) as pool:
        return await proofs.final(pool, keys.check)


async def _prove(conversation: UUID, seq: int, database_url: str, data: Path | None) -> Proved:
    from ccn.core.ids import ConversationId  # noqa: PLC0415
    from ccn.node import keys  # noqa: PLC0415
    from ccn.store import proofs  # noqa: PLC0415

    async with _connected(database_url, data) as pool:
        return await proofs.prove(pool, ConversationId(conversation), seq, keys.check)


@asynccontextmanager
async def _connected(database_url: str, data: Path | None) -> AsyncIterator[Pool]:
    from ccn import settings  # noqa: PLC0415
    from ccn.cli import local  # noqa: PLC0415
    from ccn.store import pool  # noqa: PLC0415

    url = local.database_url(database_url, data)
    known = settings.load().database.model_dump() | {"url": url, "pool_size": 2}
    async with pool.open(settings.Database.model_validate(known), "ccn record") as connections:
        yield connections


def _print(shown: dict[str, object]) -> None:
    import json  # noqa: PLC0415

    typer.echo(json.dumps(shown, ensure_ascii=False))
