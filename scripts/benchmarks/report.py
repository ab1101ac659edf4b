"""Shows a report: a table for people, JSON for machines. A missed goal is said, and fails nothing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.console import Group
from rich.table import Table

from scripts.benchmarks.harness import Figure, Medians, Report

VERDICTS = {True: "met", False: "MISSED", None: ""}


def as_table(name: str, about: str, told: Report) -> Group:
    """Draw floor, ours, ratio and goal of each figure, then how the rounds went."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    for column in ("unit", "floor", "ours", "ratio", "goal", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for figure in told.figures:
        table.add_row(*_cells(figure))
    title = f"{name}: {about.strip().splitlines()[0]}" if about else name
    return Group(title, table, _steadiness(told.measured))


def as_json(name: str, told: Report) -> str:
    """Write the same as one JSON object on one line."""
    return json.dumps(
        {
            "benchmark": name,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "figures": [asdict(f) | {"ratio": f.ratio, "met": f.met} for f in told.figures],
            "measured": [asdict(medians) for medians in told.measured],
        }
    )


def _cells(figure: Figure) -> list[str]:
    sign = "≥" if figure.better == "more" else "≤"
    suffix = "×" if figure.ratio is not None else ""
    return [
        figure.name + (f" ({figure.trials} trials)" if figure.trials is not None else ""),
        figure.unit,
        "–" if figure.floor is None else _number(figure.floor),
        _number(figure.ours),
        "–" if figure.ratio is None else f"{figure.ratio:.2f} ×",
        "–" if figure.goal is None else f"{sign} {figure.goal:g} {suffix}".rstrip(),
        VERDICTS[figure.met],
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _steadiness(measured: Sequence[Medians]) -> str:
    if not measured:
        return ""
    kept, dropped = sum(m.kept for m in measured), sum(m.dropped for m in measured)
    took = ", ".join(f"{m.calibration_ms:.1f}" for m in measured)
    return (
        f"{kept} rounds count, {dropped} dropped because the machine's speed changed; calibration {took} ms"
    )
