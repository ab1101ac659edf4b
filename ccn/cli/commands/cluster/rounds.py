"""`ccn round`: ask for a round now, list the rounds, look at one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach.options import ClusterOptions, add_options
from ccn.cli.reach.target import By

app = typer.Typer(help="Rounds of the consensus.", no_args_is_help=True)


@app.command("force")
@add_options(ClusterOptions)
def force_round(reach: ClusterOptions, by: By = "operator") -> None:
    """Have the leader hold a round now, and print its outcome. Exit code 1 if it failed."""
    with reach.open_source() as cluster:
        outcome = cluster.ask("round", {}, by)
    printing.say(printing.to_json(outcome) if reach.as_json else _describe_outcome(outcome))
    if not outcome["committed"]:
        raise typer.Exit(1)


@app.command("list")
@add_options(ClusterOptions)
def list_rounds(
    reach: ClusterOptions,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many rounds to list.")] = 20,
) -> None:
    """List the newest rounds, committed or failed, the newest first."""
    with reach.open_source() as cluster:
        rounds = cluster.list_rounds(limit)
    printing.say_entries(rounds, _format_round, as_json=reach.as_json, if_none="no round was held yet")


@app.command("show")
@add_options(ClusterOptions)
def show_round(
    reach: ClusterOptions, height: Annotated[int, typer.Argument(min=1, help="The height of the block.")]
) -> None:
    """Show one block: which nodes reported, which voted, and what was agreed on."""
    with reach.open_source() as cluster:
        block = cluster.load_round(height)
    if reach.as_json:
        printing.say_json(block)
        return
    for name, value in (block | {"at": timestamps.format_iso_moment(block["at"])}).items():
        parts = [_describe_result(result) for result in value] if name == "results" else value
        gap = f"\n{'':<12} " if name == "results" else ", "
        printing.say(f"{name:<12} {gap.join(map(str, parts)) or '-' if isinstance(parts, list) else parts}")


def _describe_outcome(outcome: Mapping[str, Any]) -> str:
    refused = "".join(
        f"\n  {node}: {printing.to_one_line(reason)}" for node, reason in outcome["refused"].items()
    )
    if outcome["committed"]:
        votes = ", ".join(outcome["votes"])
        return f"block {outcome['height']} committed in term {outcome['term']}, votes of {votes}{refused}"
    reason = printing.to_one_line(outcome["reason"])
    return f"the round for height {outcome['height']} failed: {reason}{refused}"


def _describe_result(result: Mapping[str, Any]) -> str:
    """Describe a character's median, and which instances are how far from it."""
    axes = ", ".join(f"{axis} {value:.2f}" for axis, value in result["median"].items() if value is not None)
    owners = f" of {result['owners']} owners" if result.get("owners") is not None else ""
    drift = _format_range(result["drift"])
    lines = [
        f"{result['character']}: {result['instances']} instances{owners}, {drift} from their median",
        *(f"  beyond the tolerance: {_describe_instance(outlier)}" for outlier in result["outliers"]),
        *(f"  named by several nodes: {_describe_instance(disputed)}" for disputed in result["disputed"]),
        f"  {axes}",
    ]
    return f"\n{'':<12} ".join(lines)


def _format_range(drift: Mapping[str, float]) -> str:
    least, most = drift["least"], drift["most"]
    return f"{most:.3f}" if least == most else f"{least:.3f} to {most:.3f}"


def _describe_instance(reported: Mapping[str, Any]) -> str:
    return f"{reported['instance']} on {reported['node']}, {reported['drift']:.3f}"


def _format_round(entry: Mapping[str, Any]) -> str:
    if entry["committed"]:
        outcome = f"{entry['leaves']:>6} leaves   votes of {', '.join(entry['votes'])}"
    else:
        outcome = f"failed: {printing.to_one_line(entry['reason'])}"
    at = timestamps.format_iso_moment(entry["at"])
    return f"{at}  height {entry['height']:>6}  term {entry['term']:>4}  {outcome}"
