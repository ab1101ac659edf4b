"""`ccn character scorer | baseline | drift | release`: what measures, what is usual, who left it.

Separate from `character`, which scores texts without any cluster: these ask the cluster's database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from ccn import errors, settings
from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, Json, Url
from ccn.core.character.scoring import judge as judging
from ccn.core.ids import CharacterId, ConversationId, InstanceId
from ccn.node.character import scorers
from ccn.node.views import drift_review
from ccn.node.views.drift_review import DriftReview, ReviewedBaseline
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, instances
from ccn.store.conversations.instances import Instance
from ccn.store.rounds import blocks

_BARS = "▁▂▃▄▅▆▇█"
_UNKNOWN = "not estimable"

_Instance = Annotated[
    str,
    typer.Argument(help="The id of an instance, or of the conversation it speaks in.", show_default=False),
]


def add_commands(app: typer.Typer) -> None:
    """Put these beside the other commands about characters."""
    app.command("scorer")(show_scorer)
    app.command("baseline")(show_baselines)
    app.command("drift")(show_drift)
    app.command("release")(release_instance)


def show_scorer(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """Which scorer the nodes agreed on, and who judges in confirmations by the settings here."""
    at = target.find_database(database_url, data, quiet=as_json)
    scorer, judge = ask.run_on_database(_agreed_scorer, at), settings.load().scoring.judge
    version = judging.version_of(judge) if judge else None
    if as_json:
        printing.say(json.dumps({"scorer": scorer, "judge": version}))
        return
    printing.say(f"scorer  {scorer}")
    printing.say(f"judge   {version or 'nobody (CCN_SCORING_JUDGE is not set here)'}")


def show_baselines(
    character: Annotated[
        str, typer.Argument(help="Which character; all of them if left out.", show_default=False)
    ] = "",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What is usual for a character, by scorer and model; which baselines are void, and why."""
    at = target.find_database(database_url, data, quiet=as_json)
    found = ask.run_on_database(lambda pool: _load_baselines(pool, character), at)
    if not found and not as_json:
        printing.say("no baselines yet: one is learnt from 240 scored replies of at least 4 conversations,")
        printing.say("with several people if several talk with the character (ccn/docs/fairness.md)")
    for each in found:
        printing.say(json.dumps(_baseline_to_fields(each)) if as_json else _format_baseline(each))


def show_drift(
    instance: _Instance,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """How far an instance is from the round's median, its own past and the charter, and what was done."""
    at = target.find_database(database_url, data, quiet=as_json)
    found = ask.run_on_database(lambda pool: _review_instance(pool, instance), at)
    printing.say(json.dumps(_review_to_fields(found)) if as_json else _draw_review(found))


def release_instance(  # noqa: PLR0917 - the options of a command
    instance: _Instance,
    reason: Annotated[str, typer.Option("--reason", help="Why it may speak again; kept in the record.")],
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let an instance speak again that was quarantined."""
    at = target.find_database(database_url, data, quiet=as_json)
    told = ask.run_on_database(lambda pool: _ask_for_release(pool, instance, reason, by, quiet=as_json), at)
    printing.say(json.dumps(told) if as_json else f"{told['instance']} speaks again, on {told['node']}")


async def _load_baselines(pool: Pool, named: str) -> list[ReviewedBaseline]:
    scorer = await _agreed_scorer(pool)
    wanted = [CharacterId(named)] if named else [each.id for each in await characters.list_characters(pool)]
    return [kept for each in wanted for kept in await drift_review.load_baselines(pool, each, scorer)]


async def _review_instance(pool: Pool, named: str) -> DriftReview:
    return await drift_review.review_instance(
        pool, (await _find_instance(pool, named)).id, await _agreed_scorer(pool)
    )


async def _ask_for_release(pool: Pool, named: str, reason: str, by: str, *, quiet: bool) -> dict[str, Any]:
    found = await _find_instance(pool, named)
    body = {"instance": str(found.id), "reason": reason}
    return await ask.ask_on_database(pool, "release", body, by, node=found.host, quiet=quiet)


async def _agreed_scorer(pool: Pool) -> str:
    """The scorer that the nodes agreed on, or before the founding the one of the settings."""
    if tip := await blocks.load_tip(pool):
        return tip.rules.parameters.scorer
    chosen = settings.load()
    return scorers.load(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads).version


async def _find_instance(pool: Pool, named: str) -> Instance:
    wanted = _parse_id(named)
    spoken = await instances.find_in_conversation(pool, ConversationId(wanted))
    try:
        return spoken or await instances.load_instance(pool, InstanceId(wanted))
    except errors.NotFound:
        raise errors.NotFound(
            f"there is no instance {named}, and no conversation in which one lives"
        ) from None


def _parse_id(named: str) -> UUID:
    try:
        return UUID(named)
    except ValueError:
        raise errors.InputInvalid(f"{named!r} is not an id of an instance or a conversation") from None


def _baseline_to_fields(kept: ReviewedBaseline) -> dict[str, object]:
    each = kept.baseline
    return {
        "character": each.character,
        "kind": each.kind.value,
        "scorer": each.scorer,
        "model": each.model,
        "made_at": each.made_at.isoformat(),
        "plate_version": each.plate_version,
        "messages": len(each.scores),
        "owners": each.owners,
        "threshold": kept.threshold,
        "void": kept.void,
    }


def _format_baseline(kept: ReviewedBaseline) -> str:
    each = kept.baseline
    usual = "" if kept.threshold is None else f", T² up to {kept.threshold:.1f} is usual"
    holds = f"void: {kept.void}" if kept.void else f"holds{usual}"
    return (
        f"{each.character:<12} {each.kind.value:<9} {len(each.scores):>5} texts  {each.scorer:<22} "
        f"{each.model:<24} {timestamps.format_moment(each.made_at)}  {printing.to_one_line(holds)}"
    )


def _review_to_fields(found: DriftReview) -> dict[str, object]:
    here = found.instance
    return {
        "instance": str(here.id),
        "conversation": str(here.conversation),
        "character": here.character,
        "node": here.host,
        "status": here.status.value,
        "model": here.model,
        "scorer": found.scorer,
        "tolerance": found.tolerance,
        "from_median": found.from_median,
        "from_own_past": found.from_past,
        "from_charter": found.from_charter,
        "usual_from_charter": found.usual_from_charter,
        "alarm_level": found.level,
        "threshold": found.threshold,
        "series": [
            {"seq": p.seq, "at": p.at.isoformat(), "alarm_level": p.level, "from_charter": p.from_charter}
            for p in found.series
        ],
        "done": [
            {
                "at": each.at.isoformat(),
                "instance": str(each.instance),
                "step": each.step,
                "reason": each.reason,
                "by": each.by,
                "distance": each.distance,
                "threshold": each.threshold,
            }
            for each in found.done
        ],
    }


def _draw_review(found: DriftReview) -> str:
    here, threshold = found.instance, found.threshold
    beside_threshold = (
        f"above {threshold:.1f} it is alarmed" if threshold is not None else "no baseline yet"
    )
    levels, away = [p.level for p in found.series], [p.from_charter for p in found.series]
    said = [
        f"{here.id} of {here.character}, {here.status.value} on {here.host}, {here.model}",
        f"{found.scorer}, statistical: distances between estimates of how it speaks\n",
        _format_distance("from the round's median", found.from_median, "tolerance", found.tolerance),
        _format_distance("from its own past", found.from_past),
        _format_distance("from the charter", found.from_charter, "usual", found.usual_from_charter),
        f"  {'alarm level T²':<24} {_format_number(found.level, 1):>13}   {beside_threshold}\n",
        _draw_chart("T²", levels, threshold),
        _draw_chart("from the charter", away, None),
        "",
        "what was done:" if found.done else "nothing was done about it",
    ]
    for each in found.done:
        figures = (
            f"{_format_number(each.distance, 2)} of {_format_number(each.threshold, 2)}"
            if each.distance
            else ""
        )
        why = printing.to_one_line(f"{each.reason} ({each.by})")
        said.append(f"  {timestamps.format_moment(each.at)}  {each.step:<13} {figures:<16} {why}")
    return "\n".join(line for line in said if line is not None)


def _format_distance(name: str, value: float | None, beside: str = "", other: float | None = None) -> str:
    also = f"   {beside} {other:.3f}" if other is not None else ""
    return f"  {name:<24} {_format_number(value, 3):>13}{also}"


def _format_number(value: float | None, places: int) -> str:
    return _UNKNOWN if value is None else f"{value:.{places}f}"


def _draw_chart(name: str, series: Sequence[float | None], threshold: float | None) -> str | None:
    """A bar for each message, and below it a mark where it is beyond the threshold."""
    known = [each for each in series if each is not None]
    if not known:
        return None
    top = max(*known, threshold or 0.0, 1e-9)
    bars = "".join(" " if each is None else _BARS[round(each / top * (len(_BARS) - 1))] for each in series)
    line = f"  {name:<18} {bars}  0 to {top:.2f}, the last {len(series)} replies"
    if threshold is None or max(known) <= threshold:
        return line
    beyond = "".join("^" if each is not None and each > threshold else " " for each in series)
    return f"{line}\n  {'':<18} {beyond.rstrip()}"
