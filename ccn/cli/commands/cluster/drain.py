"""`ccn drain`: have a node hand over all it has, so that it can be stopped or removed."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from ccn.cli.output import printing
from ccn.cli.reach import ask, remote, target
from ccn.cli.reach.target import By, Data, Endpoint, HttpTarget, Json, KeyFile, Url
from ccn.core.ids import NodeId
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains
from ccn.store.operators.drains import NodeLoad

_LOOK_S = 0.25


def drain(  # noqa: PLR0917 - the options of a command
    node: Annotated[str, typer.Argument(help="The name of the node, as `ccn status` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take part again.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait until it is empty.")
    ] = 120,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Have a node lead nothing, take nothing new and hand over its instances. It goes on voting.

    Exit code 1 if something still ties it to the cluster when the time is over; it goes on draining then.
    """
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    if isinstance(at, HttpTarget):
        told = _drain_by_http(at, node, by, undo=undo, wait_s=wait_s, quiet=as_json)
    else:
        told = ask.run_on_database(
            lambda pool: _drain_by_database(pool, node, by, undo=undo, wait_s=wait_s, quiet=as_json), at
        )
    if as_json:
        printing.say(json.dumps(told))
    elif undo:
        printing.say(f"{node} takes part again")
    elif told["drained"]:
        printing.say(f"{node} is drained: stop it, or `ccn validators remove {node}`")
    else:
        printing.say(f"{node} is not empty after {wait_s:g} s, and goes on draining")
    if not undo and not told["drained"]:
        raise typer.Exit(1)


async def _drain_by_database(
    pool: Pool, node: str, by: str, *, undo: bool, wait_s: float, quiet: bool
) -> dict[str, Any]:
    outcome = await ask.ask_on_database(pool, "drain", {"undo": undo}, by, node=node, quiet=quiet)
    if undo:
        return outcome
    clock = asyncio.get_running_loop().time
    until, shown = clock() + wait_s, ""
    while True:
        left = await drains.load_of_node(pool, NodeId(node))
        if not quiet and (now := _describe_load(node, left)) != shown:
            printing.say(now, err=True)
            shown = now
        if left.empty or not left.draining or clock() >= until:
            return outcome | _load_to_fields(left)
        await asyncio.sleep(_LOOK_S)


def _drain_by_http(
    at: HttpTarget, node: str, by: str, *, undo: bool, wait_s: float, quiet: bool
) -> dict[str, Any]:
    """The same over the door of a node."""
    outcome = ask.ask_cluster("drain", {"undo": undo}, by, at, node=node, quiet=quiet)
    if undo:
        return outcome
    until, shown = time.monotonic() + wait_s, ""
    while True:
        told = remote.get(at, f"/api/v1/admin/nodes/{node}/load")
        left = NodeLoad(told["draining"], told["leads"], told["instances"], told["unsealed"])
        if not quiet and (now := _describe_load(node, left)) != shown:
            printing.say(now, err=True)
            shown = now
        if left.empty or not left.draining or time.monotonic() >= until:
            return outcome | _load_to_fields(left)
        time.sleep(_LOOK_S)


def _load_to_fields(left: NodeLoad) -> dict[str, Any]:
    return {
        "draining": left.draining,
        "drained": left.draining and left.empty,
        "leads": left.leads,
        "instances": left.instances,
        "unsealed": left.unsealed,
    }


def _describe_load(node: str, left: NodeLoad) -> str:
    """What still ties it to the cluster, and what that waits for."""
    if not left.draining:
        return f"{node}: somebody had it take part again"
    ties = [
        "leads, until another node takes over" if left.leads else "",
        f"hosts {left.instances} instances, until others have them" if left.instances else "",
        f"has {left.unsealed} unsealed leaves, until the next block" if left.unsealed else "",
    ]
    return f"{node}: " + ("; ".join(filter(None, ties)) or "nothing left")
