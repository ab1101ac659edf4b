"""`ccn keys revoke` and `revoked`: certificates of nodes that count no more, in the cluster's database.

Separate from the other commands of `ccn keys`, which need no cluster: these tell every node of one.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, Json, Url
from ccn.core.identity import revocation
from ccn.store.accounts import node_register


def revoke_certificates(  # noqa: PLR0917 - the options of a command
    named: Annotated[
        str,
        typer.Argument(
            metavar="NODE|SERIAL",
            help="A node, for all its certificates so far, or a serial number as `ccn keys show` tells it.",
            show_default=False,
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.", show_default=False)],
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let certificates count no more, at every node within two seconds. This cannot be taken back."""
    node, serial = revocation.parse_target(named)
    at = datetime.now(UTC)
    where = target.find_database(database_url, data, quiet=as_json)
    ask.run_on_database(
        lambda pool: node_register.revoke_certificates(pool, node, serial, at, reason, by), where
    )
    # Certificates tell seconds only: what is made from the next one on is not meant.
    time.sleep(1 - at.microsecond / 1_000_000)
    if as_json:
        printing.say(json.dumps({"node": node, "serial": serial, "at": at.isoformat()}))
        return
    what = f"every certificate of {node} until now" if node else f"the certificate {named}"
    printing.say(f"revoked {what}")


def list_revoked(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """Everything that was revoked."""
    for each in ask.run_on_database(
        node_register.list_revoked, target.find_database(database_url, data, quiet=as_json)
    ):
        serial = None if each.serial is None else revocation.serial_to_pairs(each.serial)
        if as_json:
            printing.say(json.dumps({"node": each.node, "serial": serial, "at": each.at.isoformat()}))
            continue
        what = f"all of {each.node} until then" if each.node else serial
        printing.say(f"{timestamps.format_moment(each.at)}  {what}")
