"""`ccn node …`: being one node of a cluster."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from ccn import errors, settings
from ccn.cli.output import logs, printing
from ccn.cli.reach.target import Json
from ccn.core.ids import NodeId
from ccn.node.recovery import accepted_loss
from ccn.node.signing import memory

app = typer.Typer(help="One node of a cluster.", no_args_is_help=True)


@app.callback()
def _describe_group() -> None:
    """One node of a cluster."""


@app.command()
def run() -> None:
    """Be one node, configured by CCN_* variables and ccn.toml (see `ccn settings`), until SIGTERM."""
    from ccn.service import lifetime  # noqa: PLC0415 - all of a node: `ccn node --help` need not wait for it

    reading = settings.load_with_origins()
    logs.configure_logging(reading.settings.log, node=reading.settings.node.id)
    logs.warn_of_ignored(reading)
    lifetime.run_node(reading.settings)


@app.command("accept-loss")
def accept_loss(
    by: Annotated[str, typer.Option("--by", help="Who accepts it; it is kept in the record.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")],
    as_json: Json = False,
) -> None:
    """Go on without leaves that this node acknowledged, once no database has them any more.

    Where the node's settings are (CCN_NODE_ID, CCN_NODE_STATE_DIR, CCN_DATABASE_URL), with the node stopped
    or its doors shut. Look for a database that has them first: see ccn/docs/recovery.md.
    """
    chosen = settings.load()
    if chosen.node.state_dir is None:
        raise errors.SettingsInvalid("CCN_NODE_STATE_DIR is not set: it names the folder of the node")
    with memory.open_right(chosen.node.state_dir) as right:
        done = asyncio.run(
            accepted_loss.accept_loss(chosen.database, NodeId(chosen.node.id), right, by, reason)
        )
    told = {"node": chosen.node.id, "lost": done.lost.number, "kept": done.kept.number}
    if as_json:
        printing.say(json.dumps(told))
        return
    printing.say(
        f"{chosen.node.id} goes on after leaf {done.kept.number}; it had acknowledged {done.lost.number}"
    )
    printing.say("restart it: the process that is shut remembers what was lost")
