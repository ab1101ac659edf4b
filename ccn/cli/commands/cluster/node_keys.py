"""`ccn keys …`: what nodes sign with, and the certificates by which they know each other.

    FOLDER/ca/      ca.pem, ca.key           an authority of this cluster, for development and small sites
           node-1/  signing.key, signer.state   what the node signs the record with, and what it last signed
                    node.pem, node.key, ca.pem  how it shows who it is, and whom it trusts

A node's folder is all that it needs: its CCN_NODE_STATE_DIR. Only ca.key can make further nodes, and is
best kept elsewhere. `init` overwrites nothing; `renew` replaces certificates, which end after 30 days.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ccn import errors
from ccn.certificates import inspection
from ccn.cli.cluster import node_credentials
from ccn.cli.commands.cluster import revocations
from ccn.cli.output import printing, timestamps
from ccn.cli.reach.target import Json
from ccn.core import ids
from ccn.core.identity import revocation
from ccn.core.ids import NodeId
from ccn.node.signing import signing_key

app = typer.Typer(help="Keys and certificates of nodes.", no_args_is_help=True)

_DEFAULT = Path("ccn-keys")
_NODES = ["node-1", "node-2", "node-3"]

Dir = Annotated[Path, typer.Option("--dir", help="The folder they lie in.")]


@app.callback()
def _describe_group() -> None:
    """Keys and certificates of nodes."""


@app.command()
def init(
    folder: Dir = _DEFAULT,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node",
            help="A node; may be given often.  [default: node-1, node-2, node-3]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="A name or address the nodes are reached at besides loopback; may be given often.",
        ),
    ] = None,
) -> None:
    """Make an authority if there is none yet, and for each node its signing key and certificate."""
    nodes = [NodeId(ids.check_name(name, "node")) for name in dict.fromkeys(node or _NODES)]
    for name in nodes:
        for file in (signing_key.FILE, "node.key", "node.pem"):
            if (folder / name / file).exists():
                raise errors.InputInvalid(f"{folder / name / file} exists, and nothing is overwritten")
    made = node_credentials.prepare_nodes(folder, nodes, host or (), datetime.now(UTC))
    for each in made.values():
        printing.say(f"{each.node}  {each.public.hex()}  {each.folder}")
    printing.say(f"Copy each folder to its node, and keep {folder / 'ca' / 'ca.key'} elsewhere.")


@app.command()
def renew(
    folder: Dir = _DEFAULT,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", help="A node; may be given often. All of them if none.", show_default=False),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further name or address of the nodes; may be given often."),
    ] = None,
) -> None:
    """Make new certificates for nodes that have some; each keeps its names and the key it signs with.

    Copy node.pem, node.key and ca.pem to the node, which reads them within a minute and needs no restart.
    """
    nodes = [
        NodeId(name) for name in node or sorted(file.parent.name for file in folder.glob("*/node.pem"))
    ]
    missing = [name for name in nodes if not (folder / name / "node.pem").exists()]
    if missing or not nodes:
        raise errors.NotFound(f"{folder} has no certificate of {', '.join(missing) or 'any node'}")
    made = node_credentials.prepare_nodes(
        folder, nodes, host or (), datetime.now(UTC), lasting=node_credentials.ALWAYS
    )
    for each in made.values():
        described = inspection.summarise_certificate((each.folder / "node.pem").read_bytes())
        printing.say(f"{each.node}  until {timestamps.format_moment(described.until)}  {each.folder}")


app.command("revoke")(revocations.revoke_certificates)
app.command("revoked")(revocations.list_revoked)


@app.command()
def show(folder: Dir = _DEFAULT, as_json: Json = False) -> None:
    """Print each node's public key, the names in its certificate and when that ends."""
    found = sorted(file.parent for file in folder.glob(f"*/{signing_key.FILE}"))
    if not found:
        raise errors.NotFound(f"{folder} has no keys of nodes")
    for node in found:
        public, file = signing_key.read_key(node).public.hex(), node / "node.pem"
        described = inspection.summarise_certificate(file.read_bytes()) if file.exists() else None
        if as_json:
            told: dict[str, object] = {"node": node.name, "public": public, "until": None, "names": []}
            if described is not None:
                told |= {"until": described.until.isoformat(), "names": list(described.names)}
                told |= {"serial": revocation.serial_to_pairs(described.serial)}
            printing.say(json.dumps(told))
            continue
        printing.say(f"{node.name}  {public}")
        if described is not None:
            until, names = timestamps.format_moment(described.until), ", ".join(described.names)
            printing.say(f"  certificate until {until} for {names}")
            printing.say(f"  serial number {revocation.serial_to_pairs(described.serial)}")
