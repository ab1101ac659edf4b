"""`ccn doctor`: look at what a node will need, and say what to mend before it is started."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from ccn import settings
from ccn.cli.doctor import machine, servers
from ccn.cli.doctor.findings import DoctorFinding, FindingLevel
from ccn.cli.output import printing
from ccn.cli.reach.target import Json

_COLOURS = {FindingLevel.OK: typer.colors.GREEN, FindingLevel.LOOK: typer.colors.YELLOW}


def doctor(
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Ask PostgreSQL, etcd and Redis as well, and compare clocks.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at what the node with these settings will need, and say what to mend.

    Nothing is changed. Exit code 1 if something has to be mended before the node can start.
    """
    chosen = settings.load()
    found = machine.check_machine(chosen, datetime.now(UTC))
    if deploy:
        found += asyncio.run(servers.check_servers(chosen))
    for each in found:
        _print_finding(each, as_json=as_json)
    if any(each.level is FindingLevel.MEND for each in found):
        raise typer.Exit(1)


def _print_finding(finding: DoctorFinding, *, as_json: bool) -> None:
    if as_json:
        printing.say_json({"level": finding.level, "about": finding.about, "says": finding.says})
        return
    level = typer.style(f"{finding.level:<5}", fg=_COLOURS.get(finding.level, typer.colors.RED))
    printing.say(f"{level}{finding.about:<14}{printing.to_one_line(finding.says)}")
