"""`ccn character …`: shows the axes that characters are measured by, and scores texts on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ccn import errors, settings
from ccn.cli.commands import drift
from ccn.cli.output import printing
from ccn.cli.reach.target import Json
from ccn.core.axes import AXES, SEVEN, SIXTEEN
from ccn.core.character.scoring import grounds
from ccn.core.character.scoring.scorer import FeatureEffect, Scorer, TextScores
from ccn.node.character import scorers

app = typer.Typer(help="The sixteen axes, the scores of a text on them, and drift.", no_args_is_help=True)

_BAR = 20
_LOW = 0.35
_REASONS = 4
_LINE_LIMIT = 16 * 1024 * 1024


@app.command()
def axes(as_json: Json = False) -> None:
    """Show the axes with their rubrics and lineage, and the relational axes with their formulas."""
    if as_json:
        text_axes = [
            {
                "name": axis.name,
                "rubric": axis.rubric,
                "lineage": axis.lineage,
                "validated_offline": axis.validated_offline,
                "weight": axis.weight,
            }
            for axis in SIXTEEN
        ]
        relational = [{"name": axis.name, "formula": axis.formula} for axis in SEVEN]
        printing.say_json({"axes": text_axes, "relational": relational})
        return
    printing.say(
        "Sixteen axes of a text, from 0 (clearly the opposite) over 0.5 (neutral) to 1 (clearly shown)\n"
    )
    for axis in SIXTEEN:
        printing.say(f"  {axis.name:<14}{axis.rubric}")
        printing.say(f"  {'':<14}from {axis.lineage}")
        if not axis.validated_offline:
            printing.say(f"  {'':<14}not validated offline: shown and marked, weight 0 in decisions")
    printing.say("\nSeven relational axes, for each conversation\n")
    for relation in SEVEN:
        printing.say(f"  {relation.name:<14}{relation.formula}")


@app.command()
def score(  # noqa: PLR0917 - its options
    file: Annotated[
        Path, typer.Argument(help="A file with a text, or - for standard input.", allow_dash=True)
    ],
    scorer: Annotated[
        str, typer.Option(help="The scorer: tier-1/v1, tier-0/v1 or tier-2.", show_default="tier-1/v1")
    ] = "",
    tier: Annotated[
        int | None,
        typer.Option(help="The scorer by the number of its tier.", min=0, max=3, show_default=False),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="For tier 2, the folder of the model; else CCN_SCORING_MODEL.", show_default=False
        ),
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            help="For tier 2, the trained heads; else the file tier-2.heads beside the model.",
            show_default=False,
        ),
    ] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Read lines {"text": …} and write lines {"scores": {…}}.')
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a text, and show which words moved which axis. A score estimates style, not a mind."""
    chosen = _load_scorer(scorer, tier, model, heads)
    try:
        opened: BinaryIO = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as refused:
        raise errors.InputInvalid(f"{file} cannot be read: {refused.strerror}") from refused
    with opened:
        if jsonl:
            _score_lines(chosen, opened)
        else:
            _score_one_text(chosen, _decode_text(opened.read(_LINE_LIMIT), str(file)), as_json=as_json)


def _load_scorer(scorer: str, tier: int | None, model: Path | None, heads: Path | None) -> Scorer:
    """Load a scorer by name or number; tier 2 from the options, or else from the settings."""
    if scorer and tier is not None:
        raise errors.InputInvalid("--scorer and --tier name the same thing; give one of them")
    if tier == 3:
        raise errors.InputInvalid("tier 3 is Claude as judge, which only a node asks: no command does")
    name = scorer or (scorers.DEFAULT if tier is None else f"tier-{tier}")
    if name.startswith("tier-2") and model is None:
        configured = settings.load().scoring
        model, heads = configured.model, heads or configured.heads
    return scorers.load(name, model, heads)


def _score_lines(scorer: Scorer, lines: BinaryIO) -> None:
    """Write one line for each line, as they come. A bad line ends that, and is named by its number."""
    out = sys.stdout
    number = 0
    while line := lines.readline(_LINE_LIMIT):
        number += 1
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            out.flush()
            raise errors.InputInvalid(f'line {number} is not a JSON object with a string "text"') from None
        out.write(json.dumps({"scores": _scores_by_axis(scorer.score(text))}) + "\n")
        if number % 100 == 0 or not _is_seekable(lines):
            out.flush()
    out.flush()


def _is_seekable(lines: BinaryIO) -> bool:
    return lines.seekable()


def _score_one_text(scorer: Scorer, text: str, *, as_json: bool) -> None:
    scored, moved = scorer.score(text), _group_by_axis(scorer.explain(text))
    shares = {
        axis: grounds.meaningful_share(moved.get(axis, []), value)
        for axis, value in _scores_by_axis(scored).items()
        if value is not None
    }
    if as_json:
        printing.say_json(
            {
                "scorer": scorer.version,
                "scores": _scores_by_axis(scored),
                "evidence": {axis: round(share, 3) for axis, share in shares.items()},
                "unobserved": scored.unobserved,
                "moved": {
                    axis: [{"feature": effect.feature, "by": round(effect.by, 3)} for effect in effects]
                    for axis, effects in _strongest_reasons(moved).items()
                },
            }
        )
        return
    _print_picture(scorer.version, scored, _strongest_reasons(moved), shares)


def _print_picture(
    version: str, scored: TextScores, reasons: dict[str, list[FeatureEffect]], shares: dict[str, float]
) -> None:
    """Draw a bar for each axis from the middle, to the right or left, with the words that moved it."""
    if all(value is None for value in scored.scores):
        printing.say(
            f"{version}: nothing can be observed, {' and '.join(sorted(set(scored.unobserved.values())))}"
        )
        return
    printing.say(f"{version}, a statistical estimate; 0.5 is neutral, * not validated offline")
    printing.say(
        "a word in place of a number: the score rests mostly on punctuation and on words of every text\n"
    )
    for axis, value in zip(SIXTEEN, scored.scores, strict=True):
        name = axis.name + ("" if axis.validated_offline else " *")
        if value is None:
            printing.say(f"  {name:<15}  –    {'':<{_BAR + 1}}  {scored.unobserved[axis.name]}")
            continue
        why = "  ".join(
            f"{'+' if effect.by > 0 else '−'}{printing.to_one_line(effect.feature)}"
            for effect in reasons.get(axis.name, [])
        )
        shown = f"{value:4.2f}" if shares[axis.name] >= grounds.LITTLE else f"{_name_band(value):<4}"
        printing.say(f"  {name:<15} {shown}  {_draw_bar(value)}  {why}".rstrip())


def _name_band(value: float) -> str:
    """Name the band of a score that has too little evidence for a number."""
    return "low" if value < _LOW else "mid" if value < 1 - _LOW else "high"


def _draw_bar(value: float) -> str:
    half = _BAR // 2
    filled = round(abs(value - 0.5) * _BAR)
    left = ("█" * filled).rjust(half) if value < 0.5 else " " * half
    right = ("█" * filled).ljust(half) if value >= 0.5 else " " * half
    return f"{left}│{right}"


def _group_by_axis(moved: Iterable[FeatureEffect]) -> dict[str, list[FeatureEffect]]:
    by_axis: dict[str, list[FeatureEffect]] = {}
    for effect in moved:
        by_axis.setdefault(effect.axis, []).append(effect)
    return by_axis


def _strongest_reasons(moved: dict[str, list[FeatureEffect]]) -> dict[str, list[FeatureEffect]]:
    """Choose the few strongest effects of each axis, words that mean something first."""
    return {axis: grounds.order_by_meaning(effects)[:_REASONS] for axis, effects in moved.items()}


def _scores_by_axis(scored: TextScores) -> dict[str, float | None]:
    return dict(zip(AXES, scored.scores, strict=True))


def _decode_text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise errors.InputInvalid(f"{name} is not UTF-8 text") from None


drift.add_commands(app)
