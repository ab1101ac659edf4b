"""`ccn node …`: being one node of a cluster."""

from __future__ import annotations

import typer

app = typer.Typer(help="One node of a cluster.", no_args_is_help=True)


@app.callback()
def _family() -> None:
    """One node of a cluster."""


@app.command()
def run() -> None:
    """Be one node, configured by CCN_* variables and ccn.toml (see `ccn settings`), until SIGTERM."""
    from ccn import service, settings  # noqa: PLC0415 - start-up must be quick
    from ccn.cli import logs  # noqa: PLC0415

    reading = settings.here()
    logs.configure(reading.settings.log, node=reading.settings.node.id)
    logs.warn_of_ignored(reading)
    service.run(reading.settings)
