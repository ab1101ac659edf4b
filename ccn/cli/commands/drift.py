"""`ccn character scorer | baseline | drift | release`: measures the characters of a running cluster.

Separate from `character`, which scores texts without a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer

from ccn import errors, settings
from ccn.cli.output import printing, timestamps
from ccn.cli.reach import database_source
from ccn.cli.reach.fields import Fields
from ccn.cli.reach.options import ClusterOptions, DatabaseOptions, add_options
from ccn.cli.reach.target import By
from ccn.core.character.scoring import judge as judging
from ccn.core.ids import CharacterId
from ccn.node.character import scorers
from ccn.node.views import drift_review
from ccn.node.views.drift_review import DriftReview, ReviewedBaseline
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.rounds import blocks

_BARS = "▁▂▃▄▅▆▇█"
_UNKNOWN = "not estimable"

InstanceName = Annotated[
    str,
    typer.Argument(
        help="The id of an instance, or of the conversation in which it speaks.", show_default=False
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the others about characters."""
    app.command("scorer")(show_scorer)
    app.command("baseline")(show_baselines)
    app.command("drift")(show_drift)
    app.command("release")(release_instance)


@add_options(DatabaseOptions)
def show_scorer(reach: DatabaseOptions) -> None:
    """Show the scorer that the nodes agreed on, and the judge of confirmations by the settings here."""
    scorer, judge = reach.run(_load_scorer), settings.load().scoring.judge
    version = judging.version_of(judge) if judge else None
    if reach.as_json:
        printing.say_json({"scorer": scorer, "judge": version})
        return
    printing.say(f"scorer  {scorer}")
    printing.say(f"judge   {version or 'none (CCN_SCORING_JUDGE is not set here)'}")


@add_options(DatabaseOptions)
def show_baselines(
    reach: DatabaseOptions,
    character: Annotated[
        str, typer.Argument(help="The character; all of them if left out.", show_default=False)
    ] = "",
) -> None:
    """Show what is usual for a character, by scorer and model, and which baselines are void and why."""
    baselines = reach.run(lambda pool: _load_baselines(pool, character))
    for reviewed in baselines:
        if reach.as_json:
            printing.say_json(_baseline_to_fields(reviewed))
        else:
            printing.say(_format_baseline(reviewed))
    if not baselines and not reach.as_json:
        printing.say("no baselines yet: one is learnt from 240 scored replies of at least 4 conversations,")
        printing.say("with several people if several talk with the character (`ccn help fairness`)")


@add_options(DatabaseOptions)
def show_drift(reach: DatabaseOptions, instance: InstanceName) -> None:
    """Show how far an instance is from the round's median, its own past and the charter.

    It also shows what the cluster did about it.
    """
    instance_id = _parse_id(instance)
    review = reach.run(lambda pool: _review_instance(pool, instance_id))
    printing.say(printing.to_json(_review_to_fields(review)) if reach.as_json else _draw_review(review))


@add_options(ClusterOptions)
def release_instance(
    reach: ClusterOptions,
    instance: InstanceName,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="Why the instance may speak again; the record keeps it.", show_default=False
        ),
    ],
    by: By = "operator",
) -> None:
    """Let a quarantined instance speak again."""
    named = _parse_id(instance)
    with reach.open_source() as cluster:
        instance_id, host = cluster.find_host(named)
        body = {"instance": str(instance_id), "reason": reason}
        released = cluster.ask("release", body, by, node=host)
    if reach.as_json:
        printing.say_json(released)
    else:
        printing.say(f"{released['instance']} speaks again, on {released['node']}")


async def _load_baselines(pool: Pool, named: str) -> list[ReviewedBaseline]:
    scorer = await _load_scorer(pool)
    if named:
        wanted = [CharacterId(named)]
    else:
        wanted = [character.id for character in await characters.list_characters(pool)]
    return [
        baseline
        for character_id in wanted
        for baseline in await drift_review.load_baselines(pool, character_id, scorer)
    ]


async def _review_instance(pool: Pool, named: UUID) -> DriftReview:
    instance = await database_source.find_instance(pool, named)
    return await drift_review.review_instance(pool, instance.id, await _load_scorer(pool))


async def _load_scorer(pool: Pool) -> str:
    """Load the scorer that the nodes agreed on; before the founding, take the one of the settings."""
    if tip := await blocks.load_tip(pool):
        return tip.rules.parameters.scorer
    chosen = settings.load()
    return scorers.load(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads).version


def _parse_id(named: str) -> UUID:
    try:
        return UUID(named)
    except ValueError:
        raise errors.InputInvalid(f"{named!r} is not the id of an instance or a conversation") from None


def _baseline_to_fields(reviewed: ReviewedBaseline) -> Fields:
    baseline = reviewed.baseline
    return {
        "character": baseline.character,
        "kind": baseline.kind.value,
        "scorer": baseline.scorer,
        "model": baseline.model,
        "made_at": baseline.made_at.isoformat(),
        "plate_version": baseline.plate_version,
        "messages": len(baseline.scores),
        "owners": baseline.owners,
        "threshold": reviewed.threshold,
        "void": reviewed.void,
    }


def _format_baseline(reviewed: ReviewedBaseline) -> str:
    baseline = reviewed.baseline
    usual = "" if reviewed.threshold is None else f", T² up to {reviewed.threshold:.1f} is usual"
    state = f"void: {reviewed.void}" if reviewed.void else f"holds{usual}"
    return (
        f"{baseline.character:<12} {baseline.kind.value:<9} {len(baseline.scores):>5} texts  "
        f"{baseline.scorer:<22} {baseline.model:<24} {timestamps.format_moment(baseline.made_at)}  "
        f"{printing.to_one_line(state)}"
    )


def _review_to_fields(review: DriftReview) -> Fields:
    instance = review.instance
    return {
        "instance": str(instance.id),
        "conversation": str(instance.conversation),
        "character": instance.character,
        "node": instance.host,
        "status": instance.status.value,
        "model": instance.model,
        "scorer": review.scorer,
        "tolerance": review.tolerance,
        "from_median": review.from_median,
        "from_own_past": review.from_past,
        "from_charter": review.from_charter,
        "usual_from_charter": review.usual_from_charter,
        "alarm_level": review.level,
        "threshold": review.threshold,
        "series": [
            {
                "seq": point.seq,
                "at": point.at.isoformat(),
                "alarm_level": point.level,
                "from_charter": point.from_charter,
            }
            for point in review.series
        ],
        "done": [
            {
                "at": step.at.isoformat(),
                "instance": str(step.instance),
                "step": step.step,
                "reason": step.reason,
                "by": step.by,
                "distance": step.distance,
                "threshold": step.threshold,
            }
            for step in review.done
        ],
    }


def _draw_review(review: DriftReview) -> str:
    instance, threshold = review.instance, review.threshold
    alarm = f"above {threshold:.1f} an alarm is raised" if threshold is not None else "no baseline yet"
    levels = [point.level for point in review.series]
    distances = [point.from_charter for point in review.series]
    lines = [
        f"{instance.id} of {instance.character}, {instance.status.value} on {instance.host}",
        f"model {instance.model}",
        f"{review.scorer}, statistical: distances between estimates of how the instance speaks\n",
        _format_distance("from the round's median", review.from_median, "tolerance", review.tolerance),
        _format_distance("from its own past", review.from_past),
        _format_distance("from the charter", review.from_charter, "usual", review.usual_from_charter),
        f"  {'alarm level T²':<24} {_format_number(review.level, 1):>13}   {alarm}\n",
        _draw_chart("T²", levels, threshold),
        _draw_chart("from the charter", distances, None),
        "",
        "what was done:" if review.done else "nothing was done about it",
    ]
    for step in review.done:
        figures = (
            f"{_format_number(step.distance, 2)} of {_format_number(step.threshold, 2)}"
            if step.distance
            else ""
        )
        why = printing.to_one_line(f"{step.reason} ({step.by})")
        lines.append(f"  {timestamps.format_moment(step.at)}  {step.step:<13} {figures:<16} {why}")
    return "\n".join(line for line in lines if line is not None)


def _format_distance(name: str, value: float | None, beside: str = "", other: float | None = None) -> str:
    also = f"   {beside} {other:.3f}" if other is not None else ""
    return f"  {name:<24} {_format_number(value, 3):>13}{also}"


def _format_number(value: float | None, places: int) -> str:
    return _UNKNOWN if value is None else f"{value:.{places}f}"


def _draw_chart(name: str, series: Sequence[float | None], threshold: float | None) -> str | None:
    """Draw a bar for each message, and below it a mark where it is beyond the threshold."""
    known = [value for value in series if value is not None]
    if not known:
        return None
    top = max(*known, threshold or 0.0, 1e-9)
    bars = "".join(
        " " if value is None else _BARS[round(value / top * (len(_BARS) - 1))] for value in series
    )
    line = f"  {name:<18} {bars}  0 to {top:.2f}, the last {len(series)} replies"
    if threshold is None or max(known) <= threshold:
        return line
    beyond = "".join("^" if value is not None and value > threshold else " " for value in series)
    return f"{line}\n  {'':<18} {beyond.rstrip()}"
