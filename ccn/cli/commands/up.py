"""`ccn up`: a whole cluster on this machine, with one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ccn.cli.cluster import ports

_PORTS_PER_NODE = 2


def up(  # noqa: PLR0917 - the options of a command
    nodes: Annotated[
        int, typer.Option(min=1, max=16, help="How many nodes, each a process of its own.")
    ] = 3,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Where everything is kept; by default a folder of your data directory.", show_default=False
        ),
    ] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep nothing: remove all data at the end.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help=f"HTTP port of the first node ({ports.DEFAULT_PORT}), gRPC one above, the next node two "
            "above; 0 takes free ones.",
            show_default=False,
        ),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Let the doors speak TLS, with an authority of their own, which commands here trust.",
        ),
    ] = False,
    gateways: Annotated[
        int,
        typer.Option(min=0, max=16, help="How many gateways besides: doors in front of the nodes."),
    ] = 0,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby",
            help="Run a second PostgreSQL, which has all commits and takes over if one dies.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show where everything listens and what goes wrong, no more.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="When ready, print one JSON object on one line; all else goes to stderr."
        ),
    ] = False,
) -> None:
    """Start PostgreSQL, etcd and nodes on this machine, and keep them running until Ctrl-C."""
    if ephemeral and data is not None:
        raise typer.BadParameter("give --data or --ephemeral, not both")
    needed = _PORTS_PER_NODE * (nodes + gateways)
    if port and port + needed - 1 > 65_535:
        raise typer.BadParameter(
            f"{nodes + gateways} processes need {needed} ports from {port} on", param_hint="--port"
        )
    from ccn.cli.cluster import lifecycle  # noqa: PLC0415 - start-up must be quick

    wish = lifecycle.UpOptions(nodes, data, ephemeral, port, quiet, as_json, tls, gateways, standby)
    raise typer.Exit(lifecycle.run_cluster(wish))
