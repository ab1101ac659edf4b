"""`ccn round`: ask for one now, list them, look at one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, Endpoint, Json, KeyFile, Url

if TYPE_CHECKING:
    from ccn.store.connection.pool import Pool

app = typer.Typer(help="Rounds of the consensus.", no_args_is_help=True)


@app.command("force")
def force(  # noqa: PLR0917 - the options of a command
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Have the leader hold a round now, and say what came of it. Exit code 1 if it failed."""
    at = target.cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    outcome = ask.ask("round", {}, by, at, quiet=as_json)
    printing.say(_json(outcome) if as_json else _sentence(outcome))
    if not outcome["committed"]:
        raise typer.Exit(1)


@app.command("list")
def listed(  # noqa: PLR0917 - the options of a command
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """The newest rounds, committed or failed."""
    at = target.cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    path = f"/api/v1/admin/rounds?limit={limit}"
    for entry in ask.read(at, path, lambda pool: _log(pool, limit), "rounds"):
        printing.say(_json(entry) if as_json else _line(entry))


@app.command("show")
def show(  # noqa: PLR0917 - the options of a command
    height: Annotated[int, typer.Argument(min=1, help="Which block.")],
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """One block: who reported, who voted, and what was agreed."""
    at = target.cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    found = ask.read(at, f"/api/v1/admin/rounds/{height}", lambda pool: _block(pool, height))
    if as_json:
        printing.say(_json(found))
        return
    for name, value in (found | {"at": timestamps.told(found["at"])}).items():
        shown = [_result(each) for each in value] if name == "results" else value
        gap = f"\n{'':<12} " if name == "results" else ", "
        printing.say(f"{name:<12} {gap.join(map(str, shown)) or '-' if isinstance(shown, list) else shown}")


async def _log(pool: Pool, limit: int) -> list[dict[str, Any]]:
    from ccn.node.views import round_history  # noqa: PLC0415 - start-up must be quick

    return await round_history.log(pool, limit)


async def _block(pool: Pool, height: int) -> dict[str, Any]:
    from ccn.node.views import round_history as views_round_history  # noqa: PLC0415

    return await views_round_history.block(pool, height)


def _sentence(outcome: Mapping[str, Any]) -> str:
    said = [f"{node}: {printing.printable(reason)}" for node, reason in outcome["refused"].items()]
    refused = "".join(f"\n  {each}" for each in said)
    if outcome["committed"]:
        votes = ", ".join(outcome["votes"])
        return f"block {outcome['height']} committed in term {outcome['term']}, votes of {votes}{refused}"
    reason = printing.printable(outcome["reason"])
    return f"the round for height {outcome['height']} failed: {reason}{refused}"


def _result(of: Mapping[str, Any]) -> str:
    """A character's median, and who was how far from it."""
    axes = ", ".join(f"{axis} {value:.2f}" for axis, value in of["median"].items() if value is not None)
    people = f" of {of['owners']} owners" if of.get("owners") is not None else ""
    lines = [
        f"{of['character']}: {of['instances']} instances{people}, {_span(of['drift'])} from their median",
        *(f"  beyond the tolerance: {_one(each)}" for each in of["outliers"]),
        *(f"  named by several nodes: {_one(each)}" for each in of["disputed"]),
        f"  {axes}",
    ]
    return f"\n{'':<12} ".join(lines)


def _span(drift: Mapping[str, float]) -> str:
    least, most = drift["least"], drift["most"]
    return f"{most:.3f}" if least == most else f"{least:.3f} to {most:.3f}"


def _one(each: Mapping[str, Any]) -> str:
    return f"{each['instance']} on {each['node']}, {each['drift']:.3f}"


def _line(entry: Mapping[str, Any]) -> str:
    if entry["committed"]:
        what = f"{entry['leaves']:>6} leaves   votes of {', '.join(entry['votes'])}"
    else:
        what = f"failed: {printing.printable(entry['reason'])}"
    return f"{timestamps.told(entry['at'])}  height {entry['height']:>6}  term {entry['term']:>4}  {what}"


def _json(value: object) -> str:
    import json  # noqa: PLC0415

    return json.dumps(value)
