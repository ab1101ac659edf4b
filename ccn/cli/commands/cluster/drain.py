"""`ccn drain`: have a node hand over all it has, so that it can be stopped or removed."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ccn import errors, settings
from ccn.cli.output import printing
from ccn.cli.reach.fields import Fields
from ccn.cli.reach.options import ClusterOptions, add_options
from ccn.cli.reach.source import Source
from ccn.cli.reach.target import By
from ccn.store.operators.drains import NodeLoad

_LOAD_POLL_S = 0.25


@add_options(ClusterOptions)
def drain(  # noqa: PLR0917 - the options of a command
    reach: ClusterOptions,
    node: Annotated[
        str, typer.Argument(help="The name of the node, as `ccn status` shows it.", show_default=False)
    ] = "",
    itself: Annotated[
        bool,
        typer.Option(
            "--self",
            help="The node of CCN_NODE_ID, which is about to stop; it takes part again when it starts.",
        ),
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Let the node take part again.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="How many seconds to wait until the node is empty.")
    ] = 120,
    by: By = "operator",
) -> None:
    """Have a node lead nothing, take nothing new and hand over its instances. It goes on voting.

    Exit code 1 if something still ties the node to the cluster when the time is over. It goes on draining.
    """
    if itself:
        node = by = _find_own_name(node, undo=undo)
    elif not node:
        raise errors.InputInvalid("name the node to drain, or say --self")
    with reach.open_source() as cluster:
        outcome = cluster.ask("drain", {"undo": undo}, by, node=node)
        if not undo:
            outcome |= _wait_until_empty(cluster, node, wait_s, quiet=reach.as_json)
    printing.say(printing.to_json(outcome) if reach.as_json else _describe_outcome(node, outcome, wait_s))
    if not undo and not outcome["drained"]:
        raise typer.Exit(1)


def _find_own_name(node: str, *, undo: bool) -> str:
    """Return the name of the node whose settings these are, in which it asks for its own drain."""
    if node or undo:
        raise errors.InputInvalid("--self goes with neither a name nor --undo")
    chosen = settings.load().node
    if chosen.role != "voter":
        raise errors.InputInvalid("a gateway has nothing to hand over: stop it")
    return chosen.id


def _describe_outcome(node: str, outcome: Fields, wait_s: float) -> str:
    if "drained" not in outcome:
        return f"{node} takes part again"
    if outcome["drained"]:
        return f"{node} is drained: stop it, or `ccn validators remove {node}`"
    return f"{node} is not empty after {wait_s:g} s, and goes on draining"


def _wait_until_empty(cluster: Source, node: str, wait_s: float, *, quiet: bool) -> Fields:
    """Look until nothing ties the node to the cluster or the time is over, and print what changes."""
    until = time.monotonic() + wait_s
    last = ""
    while True:
        load = cluster.load_of_node(node)
        sentence = _describe_load(node, load)
        if not quiet and sentence != last:
            printing.say(sentence, err=True)
            last = sentence
        if load.empty or not load.draining or time.monotonic() >= until:
            return _load_to_fields(load)
        time.sleep(_LOAD_POLL_S)


def _load_to_fields(load: NodeLoad) -> Fields:
    return {
        "draining": load.draining,
        "drained": load.draining and load.empty,
        "leads": load.leads,
        "instances": load.instances,
        "unsealed": load.unsealed,
    }


def _describe_load(node: str, load: NodeLoad) -> str:
    """Say what still ties the node to the cluster, and what that waits for."""
    if not load.draining:
        return f"{node}: somebody had it take part again"
    ties = [
        "leads, until another node takes over" if load.leads else "",
        f"hosts {load.instances} instances, until others have them" if load.instances else "",
        f"has {load.unsealed} unsealed leaves, until the next block" if load.unsealed else "",
    ]
    return f"{node}: " + ("; ".join(filter(None, ties)) or "nothing left")
