"""`ccn round`: ask for one now, list them, look at one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach import source, target
from ccn.cli.reach.target import By, Data, Endpoint, Json, KeyFile, Url

app = typer.Typer(help="Rounds of the consensus.", no_args_is_help=True)


@app.command("force")
def force_round(  # noqa: PLR0917 - the options of a command
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Have the leader hold a round now, and say what came of it. Exit code 1 if it failed."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        outcome = cluster.ask("round", {}, by)
    printing.say(_to_json(outcome) if as_json else _describe_outcome(outcome))
    if not outcome["committed"]:
        raise typer.Exit(1)


@app.command("list")
def list_rounds(  # noqa: PLR0917 - the options of a command
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """The newest rounds, committed or failed."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        rounds = cluster.list_rounds(limit)
    for entry in rounds:
        printing.say(_to_json(entry) if as_json else _format_round(entry))


@app.command("show")
def show_round(  # noqa: PLR0917 - the options of a command
    height: Annotated[int, typer.Argument(min=1, help="Which block.")],
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """One block: who reported, who voted, and what was agreed."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        found = cluster.load_round(height)
    if as_json:
        printing.say(_to_json(found))
        return
    for name, value in (found | {"at": timestamps.format_iso_moment(found["at"])}).items():
        shown = [_describe_result(each) for each in value] if name == "results" else value
        gap = f"\n{'':<12} " if name == "results" else ", "
        printing.say(f"{name:<12} {gap.join(map(str, shown)) or '-' if isinstance(shown, list) else shown}")


def _describe_outcome(outcome: Mapping[str, Any]) -> str:
    said = [f"{node}: {printing.to_one_line(reason)}" for node, reason in outcome["refused"].items()]
    refused = "".join(f"\n  {each}" for each in said)
    if outcome["committed"]:
        votes = ", ".join(outcome["votes"])
        return f"block {outcome['height']} committed in term {outcome['term']}, votes of {votes}{refused}"
    reason = printing.to_one_line(outcome["reason"])
    return f"the round for height {outcome['height']} failed: {reason}{refused}"


def _describe_result(of: Mapping[str, Any]) -> str:
    """A character's median, and who was how far from it."""
    axes = ", ".join(f"{axis} {value:.2f}" for axis, value in of["median"].items() if value is not None)
    people = f" of {of['owners']} owners" if of.get("owners") is not None else ""
    drift = _format_span(of["drift"])
    lines = [
        f"{of['character']}: {of['instances']} instances{people}, {drift} from their median",
        *(f"  beyond the tolerance: {_describe_outlier(each)}" for each in of["outliers"]),
        *(f"  named by several nodes: {_describe_outlier(each)}" for each in of["disputed"]),
        f"  {axes}",
    ]
    return f"\n{'':<12} ".join(lines)


def _format_span(drift: Mapping[str, float]) -> str:
    least, most = drift["least"], drift["most"]
    return f"{most:.3f}" if least == most else f"{least:.3f} to {most:.3f}"


def _describe_outlier(each: Mapping[str, Any]) -> str:
    return f"{each['instance']} on {each['node']}, {each['drift']:.3f}"


def _format_round(entry: Mapping[str, Any]) -> str:
    if entry["committed"]:
        what = f"{entry['leaves']:>6} leaves   votes of {', '.join(entry['votes'])}"
    else:
        what = f"failed: {printing.to_one_line(entry['reason'])}"
    at = timestamps.format_iso_moment(entry["at"])
    return f"{at}  height {entry['height']:>6}  term {entry['term']:>4}  {what}"


def _to_json(value: object) -> str:
    return json.dumps(value)
