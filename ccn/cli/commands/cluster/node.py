"""`ccn node …`: runs one node of a cluster, asks how it is, and accepts a loss for it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ccn import errors, health, settings
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
    """Run one node until SIGTERM, configured by CCN_* variables and ccn.toml (see `ccn settings`)."""
    from ccn.service import lifetime  # noqa: PLC0415 - all of a node: `ccn node --help` need not wait for it

    reading = settings.load_with_origins()
    logs.configure_logging(reading.settings.log, node=reading.settings.node.id)
    logs.warn_of_ignored(reading)
    lifetime.run_node(reading.settings)


@app.command("health")
def ask_health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it can serve now, not only whether it lives.")
    ] = False,
) -> None:
    """Ask the HTTP door of the node on this machine whether it lives: for probes. Exit code 1 if not.

    It reads CCN_HTTP_HOST, CCN_HTTP_PORT and CCN_HTTP_TLS_…, or [http] in the file that CCN_SETTINGS names.
    """
    raise typer.Exit(health.main(["--ready"] if ready else []))


@app.command("accept-loss")
def accept_loss(
    by: Annotated[str, typer.Option("--by", help="Who accepts the loss; the record keeps it.")],
    reason: Annotated[str, typer.Option(help="Why; the record keeps it.")],
    as_json: Json = False,
) -> None:
    """Let a node go on without leaves that it acknowledged and that no database has any more.

    Run it with the settings of the node (CCN_NODE_ID, CCN_NODE_STATE_DIR, CCN_DATABASE_URL) while the
    node is stopped or accepts no requests. First look for a database that has the leaves: see `ccn help
    recovery`.
    """
    chosen = settings.load()
    if chosen.node.state_dir is None:
        raise errors.SettingsInvalid("CCN_NODE_STATE_DIR is not set: it names the folder of the node")
    with memory.open_right(chosen.node.state_dir) as right:
        loss = asyncio.run(
            accepted_loss.accept_loss(chosen.database, NodeId(chosen.node.id), right, by, reason)
        )
    if as_json:
        printing.say_json({"node": chosen.node.id, "lost": loss.lost.number, "kept": loss.kept.number})
        return
    printing.say(
        f"{chosen.node.id} goes on after leaf {loss.kept.number}; it had acknowledged {loss.lost.number}"
    )
    printing.say("restart the node: a process that still runs remembers what was lost")
