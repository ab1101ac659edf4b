"""`ccn keys revoke` and `revoked`: revokes certificates of nodes in the cluster's database, and lists that.

Separate from the other commands of `ccn keys`, which need no cluster: these reach every node of one.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach.options import DatabaseOptions, add_options
from ccn.cli.reach.target import By
from ccn.core.identity import revocation
from ccn.store.accounts import node_register


@add_options(DatabaseOptions)
def revoke_certificates(
    reach: DatabaseOptions,
    named: Annotated[
        str,
        typer.Argument(
            metavar="NODE|SERIAL",
            help="A node, for all its certificates so far; or a serial number from `ccn keys show`.",
            show_default=False,
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; the record keeps it.", show_default=False)],
    by: By = "operator",
) -> None:
    """Revoke certificates: no node accepts them after two seconds. This cannot be taken back."""
    node, serial = revocation.parse_target(named)
    at = datetime.now(UTC)
    reach.run(lambda pool: node_register.revoke_certificates(pool, node, serial, at, reason, by))
    # Certificates hold whole seconds: one that is made in the next second is not revoked.
    time.sleep(1 - at.microsecond / 1_000_000)
    if reach.as_json:
        printing.say_json({"node": node, "serial": serial, "at": at.isoformat()})
        return
    what = f"every certificate of {node} until now" if node else f"the certificate {named}"
    printing.say(f"revoked {what}")


@add_options(DatabaseOptions)
def list_revoked(reach: DatabaseOptions) -> None:
    """List everything that was revoked."""
    revoked = reach.run(node_register.list_revoked)
    if not revoked and not reach.as_json:
        printing.say("no certificate was revoked")
    for entry in revoked:
        serial = None if entry.serial is None else revocation.serial_to_pairs(entry.serial)
        if reach.as_json:
            printing.say_json({"node": entry.node, "serial": serial, "at": entry.at.isoformat()})
            continue
        what = f"all of {entry.node} until then" if entry.node else serial
        printing.say(f"{timestamps.format_moment(entry.at)}  {what}")
