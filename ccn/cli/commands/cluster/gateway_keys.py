"""`ccn keys gateway`: the certificates of gateways, from the authority of the nodes.

Separate from `ccn keys init`: nodes are few and have keys that sign, gateways come and go and have none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ccn import errors
from ccn.certificates import inspection
from ccn.cli.cluster.credentials import gateway_credentials, link_certificates
from ccn.cli.output import printing, timestamps
from ccn.core import ids
from ccn.core.ids import NodeId


def issue_certificates(
    names: Annotated[list[str], typer.Argument(help="The gateways, for example gateway-1.")],
    folder: Annotated[Path, typer.Option("--dir", help="The folder that `ccn keys init` made.")] = Path(
        "ccn-keys"
    ),
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A name or address clients reach the gateways at; may be given often."),
    ] = None,
) -> None:
    """Make certificates for gateways, or new ones for gateways that have some.

    Copy FOLDER/gateways/NAME to the gateway, which reads the files within seconds and needs no restart.
    """
    if not (folder / "ca" / "ca.pem").exists():
        raise errors.NotFound(f"{folder} has no authority: make one with `ccn keys init --dir {folder}`")
    gateways = [NodeId(ids.check_name(name, "gateway")) for name in dict.fromkeys(names)]
    made = gateway_credentials.prepare_gateways(
        folder, gateways, host or (), datetime.now(UTC), lasting=link_certificates.ALWAYS
    )
    for each in made.values():
        until = inspection.find_end((each.folder / f"{link_certificates.PEERS}.pem").read_bytes())
        printing.say(f"{each.gateway}  until {timestamps.format_moment(until)}  {each.folder}")
