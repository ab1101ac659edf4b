"""`scripts/bench NAME`: finds the benchmark of that name, runs it, prints its report."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import uvloop
from rich.console import Console

from scripts.benchmarks import report

NOT_BENCHMARKS = {
    "__main__",
    "character_drift",
    "character_embedded",
    "character_fleet",
    "corpus",
    "gateway_floor",
    "gateway_proxy",
    "harness",
    "neighbours_crowd",
    "peer_contenders",
    "report",
    "round_nodes",
    "serving",
    "store_server",
}


def main() -> None:
    """Run the named benchmark, or list them all."""
    asked = _arguments()
    if asked.name is None:
        print("\n".join(names()))
        return
    module = importlib.import_module(f"scripts.benchmarks.{asked.name}")
    wanted = inspect.signature(module.run).parameters
    given = {"rounds": asked.rounds, "rows": asked.rows, "data": asked.data, "model": asked.model}
    given["peers_python"] = asked.peers_python
    taken = {name: value for name, value in given.items() if name in wanted}
    if "data" in wanted and asked.data is None:
        sys.exit(f"scripts/bench {asked.name} needs --data DIR, the folder of its texts")
    if "model" in wanted and asked.model is None:
        print("tier 2 is left out of the comparison: no --model DIR", file=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(module.run(**taken))
    if asked.json:
        print(report.as_json(asked.name, told))
    else:
        Console().print(report.as_table(asked.name, module.__doc__ or "", told))


def names() -> list[str]:
    """Every benchmark there is."""
    here = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(set(here) - NOT_BENCHMARKS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "scripts/bench", description="Run a benchmark; without a name, list them."
    )
    parser.add_argument("name", nargs="?", choices=names(), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that must count (default 5)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="size of a corpus (default 1000000)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="texts, for a benchmark that reads some")
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="a sentence encoder, to measure tier 2 with"
    )
    parser.add_argument(
        "--peers-python", type=Path, metavar="PATH", help="a Python that has peers-requirements.txt"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
