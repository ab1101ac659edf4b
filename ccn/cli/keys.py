"""`ccn keys …`: what nodes sign with, and the certificates by which they know each other.

    FOLDER/ca/      ca.pem, ca.key           an authority of this cluster, for development and small sites
           node-1/  signing.key, signer.state   what the node signs the record with, and what it last signed
                    node.pem, node.key, ca.pem  how it shows who it is, and whom it trusts

A node's folder is all that it needs: its CCN_NODE_STATE_DIR. Only ca.key can make further nodes, and is
best kept elsewhere. `init` overwrites nothing; `prepare` is for whoever starts a cluster and wants what is
missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ccn.cli import moments
from ccn.cli.reach import Json

if TYPE_CHECKING:
    from ccn.core.ids import NodeId
    from ccn.peers.certificates import Issued

app = typer.Typer(help="Keys and certificates of nodes.", no_args_is_help=True)

_DEFAULT = Path("ccn-keys")
_NODES = ["node-1", "node-2", "node-3"]
_SECRET, _PUBLIC = 0o600, 0o644
_RENEW = timedelta(days=30)

Dir = Annotated[Path, typer.Option("--dir", help="The folder they lie in.")]


@app.callback()
def _family() -> None:
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
    from ccn import errors  # noqa: PLC0415 - start-up must be quick
    from ccn.core import ids  # noqa: PLC0415
    from ccn.core.ids import NodeId  # noqa: PLC0415
    from ccn.node import keys  # noqa: PLC0415

    nodes = [NodeId(ids.name(name, "node")) for name in dict.fromkeys(node or _NODES)]
    for name in nodes:
        for file in (keys.FILE, "node.key", "node.pem"):
            if (folder / name / file).exists():
                raise errors.InputInvalid(f"{folder / name / file} exists, and nothing is overwritten")
    made = prepare(folder, nodes, host or (), datetime.now(UTC))
    for each in made.values():
        typer.echo(f"{each.node}  {each.public.hex()}  {each.folder}")
    typer.echo(f"Copy each folder to its node, and keep {folder / 'ca' / 'ca.key'} elsewhere.")


@app.command()
def show(folder: Dir = _DEFAULT, as_json: Json = False) -> None:
    """Print each node's public key, the names in its certificate and when that ends."""
    from ccn import errors  # noqa: PLC0415 - start-up must be quick
    from ccn.node import keys  # noqa: PLC0415
    from ccn.peers import certificates  # noqa: PLC0415

    found = sorted(file.parent for file in folder.glob(f"*/{keys.FILE}"))
    if not found:
        raise errors.NotFound(f"{folder} has no keys of nodes")
    for node in found:
        public, file = keys.read(node).public.hex(), node / "node.pem"
        described = certificates.describe(file.read_bytes()) if file.exists() else None
        if as_json:
            told: dict[str, object] = {"node": node.name, "public": public, "until": None, "names": []}
            if described is not None:
                told |= {"until": described.until.isoformat(), "names": list(described.names)}
            typer.echo(json.dumps(told))
            continue
        typer.echo(f"{node.name}  {public}")
        if described is not None:
            until, names = moments.shown(described.until), ", ".join(described.names)
            typer.echo(f"  certificate until {until} for {names}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a node was given, and where it lies."""

    node: NodeId
    folder: Path
    public: bytes

    def environment(self) -> Mapping[str, str]:
        """The settings that make a node use it."""
        return {
            "CCN_NODE_STATE_DIR": str(self.folder),
            "CCN_TLS_CA": str(self.folder / "ca.pem"),
            "CCN_TLS_CERTIFICATE": str(self.folder / "node.pem"),
            "CCN_TLS_KEY": str(self.folder / "node.key"),
        }


def prepare(
    folder: Path, nodes: Sequence[NodeId], hosts: Sequence[str], now: datetime
) -> Mapping[NodeId, Prepared]:
    """Make what is missing in FOLDER and renew certificates that soon end; keys that sign are kept."""
    from ccn.embedded import folder as folders  # noqa: PLC0415 - start-up must be quick
    from ccn.peers import certificates  # noqa: PLC0415

    for node in nodes:
        certificates.names_of(node, hosts)
    with folders.usable(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _authority(folder / "ca", now)
        return {node: _equip(folder / node, node, hosts, authority, now) for node in nodes}


def _authority(folder: Path, now: datetime) -> Issued:
    from ccn import errors  # noqa: PLC0415 - start-up must be quick
    from ccn.node import disk  # noqa: PLC0415
    from ccn.peers import certificates  # noqa: PLC0415
    from ccn.peers.certificates import Issued  # noqa: PLC0415

    folder.mkdir(mode=0o700, exist_ok=True)
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if not certificate.exists():
        made = certificates.authority(now)
        disk.replace(key, made.key, _SECRET)
        disk.create(certificate, made.certificate, _PUBLIC)
        return made
    if not key.exists():
        raise errors.InputInvalid(f"{key} is not here, and without it no certificate can be issued")
    return Issued(certificate.read_bytes(), key.read_bytes())


def _equip(folder: Path, node: NodeId, hosts: Sequence[str], authority: Issued, now: datetime) -> Prepared:
    from ccn.node import disk, signing  # noqa: PLC0415 - start-up must be quick
    from ccn.peers import certificates  # noqa: PLC0415

    folder.mkdir(mode=0o700, exist_ok=True)
    key = signing.prepare(folder)
    if not _lasts(folder / "node.pem", now):
        made = certificates.issue(authority, node, hosts, now)
        (folder / "node.pem").unlink(missing_ok=True)  # it comes last: with it, all of them are there
        disk.replace(folder / "ca.pem", authority.certificate, _PUBLIC)
        disk.replace(folder / "node.key", made.key, _SECRET)
        disk.create(folder / "node.pem", made.certificate, _PUBLIC)
    return Prepared(node, folder, key.public)


def _lasts(certificate: Path, now: datetime) -> bool:
    from ccn.peers import certificates  # noqa: PLC0415 - start-up must be quick

    return certificate.exists() and certificates.describe(certificate.read_bytes()).until > now + _RENEW
