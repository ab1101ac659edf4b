"""`ccn keys …`: what nodes sign with, and a development authority with certificates for every link.

    FOLDER/ca/            ca.pem, ca.key           the authority, for development and small sites
           node-1/        signing.key, signer.state   what the node signs with: its CCN_NODE_STATE_DIR
           tls/node-1/    peers.pem, door.pem, …   what it shows on each link, with keys, and whom it trusts
           tls/postgres/  server.pem, server.key   the same for each server that nodes call

A node needs its two folders and no others. Only ca.key can make further certificates, and is best kept
elsewhere. `init` overwrites nothing; `renew` replaces certificates, which end after 30 days (of servers
after 90).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ccn import errors
from ccn.certificates import identity, inspection
from ccn.cli.cluster.credentials import link_certificates, node_credentials
from ccn.cli.commands.cluster import gateway_keys, revocations
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
PostgresHost = Annotated[
    list[str] | None,
    typer.Option("--postgres-host", help="What PostgreSQL is called besides postgres; may be given often."),
]
EtcdHost = Annotated[
    list[str] | None,
    typer.Option("--etcd-host", help="What members of etcd are called besides etcd, etcd-1 to etcd-3."),
]
RedisHost = Annotated[
    list[str] | None,
    typer.Option("--redis-host", help="What Redis is called besides redis; may be given often."),
]


@app.callback()
def _describe_group() -> None:
    """Keys and certificates of nodes."""


@app.command()
def init(  # noqa: PLR0917 - the options of a command
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
    postgres_host: PostgresHost = None,
    etcd_host: EtcdHost = None,
    redis_host: RedisHost = None,
) -> None:
    """Make an authority if there is none yet, signing keys of nodes, and certificates for every link."""
    nodes = [NodeId(ids.check_name(name, "node")) for name in dict.fromkeys(node or _NODES)]
    for name in nodes:
        for file in (folder / name / signing_key.FILE, _peers_file(folder, name)):
            if file.exists():
                raise errors.InputInvalid(f"{file} exists, and nothing is overwritten")
    servers = _hosts_by_server(postgres_host, etcd_host, redis_host)
    made = node_credentials.prepare_nodes(folder, nodes, host or (), now := datetime.now(UTC))
    for each in made.values():
        printing.say(f"{each.node}  {each.public.hex()}  {each.state}  {each.certificates}")
    for server, place in node_credentials.prepare_servers(folder, servers, now).items():
        printing.say(f"{server}  {place}")
    printing.say(f"Copy to each node its two folders, and keep {folder / 'ca' / 'ca.key'} elsewhere.")


@app.command()
def renew(  # noqa: PLR0917 - the options of a command
    folder: Dir = _DEFAULT,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node", help="A node; may be given often. All, and the servers, if none.", show_default=False
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further name or address of the nodes; may be given often."),
    ] = None,
    postgres_host: PostgresHost = None,
    etcd_host: EtcdHost = None,
    redis_host: RedisHost = None,
) -> None:
    """Make new certificates for nodes that have some; each keeps its names and the key it signs with.

    Copy FOLDER/tls/NODE to the node, which reads the files within seconds and needs no restart.
    """
    nodes = [NodeId(name) for name in node or _list_nodes(folder)]
    missing = [name for name in nodes if not (folder / name / signing_key.FILE).exists()]
    if missing or not nodes:
        raise errors.NotFound(f"{folder} has no certificate of {', '.join(missing) or 'any node'}")
    now, lasting = datetime.now(UTC), link_certificates.ALWAYS
    made = node_credentials.prepare_nodes(folder, nodes, host or (), now, lasting=lasting)
    for each in made.values():
        _say_until(each.node, each.certificates / "peers.pem")
    if not node:
        servers = _hosts_by_server(postgres_host, etcd_host, redis_host)
        places = node_credentials.prepare_servers(folder, servers, now, lasting=lasting)
        for server, place in places.items():
            _say_until(server, place / "server.pem")


def _say_until(owner: str, file: Path) -> None:
    until = inspection.find_end(file.read_bytes())
    printing.say(f"{owner}  until {timestamps.format_moment(until)}  {file.parent}")


def _list_nodes(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob(f"*/{signing_key.FILE}"))


def _peers_file(folder: Path, node: str) -> Path:
    return node_credentials.find_certificates(folder, node) / "peers.pem"


def _hosts_by_server(
    postgres: list[str] | None, etcd: list[str] | None, redis: list[str] | None
) -> dict[str, Sequence[str]]:
    named: dict[str, Sequence[str]] = {"postgres": postgres or (), "etcd": etcd or (), "redis": redis or ()}
    return {server: identity.check_hosts(hosts) for server, hosts in named.items()}


app.command("gateway")(gateway_keys.issue_certificates)
app.command("revoke")(revocations.revoke_certificates)
app.command("revoked")(revocations.list_revoked)


@app.command()
def show(folder: Dir = _DEFAULT, as_json: Json = False) -> None:
    """Print each node's public key, the names in its certificate and when that ends."""
    found = _list_nodes(folder)
    if not found:
        raise errors.NotFound(f"{folder} has no keys of nodes")
    for node in found:
        public, file = signing_key.read_key(folder / node).public.hex(), _peers_file(folder, node)
        described = inspection.summarise_certificate(file.read_bytes()) if file.exists() else None
        if as_json:
            told: dict[str, object] = {"node": node, "public": public, "until": None, "names": []}
            if described is not None:
                told |= {"until": described.until.isoformat(), "names": list(described.names)}
                told |= {"serial": revocation.serial_to_pairs(described.serial)}
            printing.say(json.dumps(told))
            continue
        printing.say(f"{node}  {public}")
        if described is not None:
            until, names = timestamps.format_moment(described.until), ", ".join(described.names)
            printing.say(f"  certificate until {until} for {names}")
            printing.say(f"  serial number {revocation.serial_to_pairs(described.serial)}")
