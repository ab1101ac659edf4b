"""What people would pick instead of CCN, at work: a process of its own, in an environment that has them.

It is told the address of a database for each, reads the name of a contender from its input, line by line,
lets it work once, and prints its figure. Without an address it only says whether it could. It imports
nothing of CCN and so runs in any environment that has peers-requirements.txt.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import statistics
import string
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import Any

NEEDED = ("langgraph.checkpoint.postgres.aio", "langgraph.graph", "dbos", "procrastinate", "psycopg_pool")
LOADED, THREADS, TURNS, STEPS, JOBS, SIDE_BY_SIDE = 50, 4, 25, 20, 100, 16

Contender = Callable[[], Awaitable[float]]


def said(number: int) -> str:
    """Two hundred characters of a vocabulary: no message is found again in the next, but words are."""
    return " ".join(random.Random(number).choices(_words(), k=60))[:200]


@cache
def _words() -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 9))) for _ in range(4_000)]


async def main(urls: Mapping[str, str]) -> None:
    """Answer until the input ends."""
    async with AsyncExitStack() as stack:
        contenders = await stack.enter_async_context(_langgraph(urls["langgraph"]))
        contenders |= await stack.enter_async_context(_dbos(urls["dbos"]))
        contenders |= await stack.enter_async_context(_procrastinate(urls["procrastinate"]))
        print(json.dumps(sorted(contenders)), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await contenders[line.strip()]()), flush=True)


@asynccontextmanager
async def _langgraph(url: str) -> AsyncIterator[dict[str, Contender]]:
    """A saver on a connection of its own, as its documentation shows it, and a graph of one node."""
    aio = importlib.import_module("langgraph.checkpoint.postgres.aio")
    base = importlib.import_module("langgraph.checkpoint.base")
    graphs = importlib.import_module("langgraph.graph")
    messages = importlib.import_module("langchain_core.messages")

    async with aio.AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
        kept = list[str]()

        async def keep() -> float:
            """Milliseconds to keep a message, at the median, in conversations of fifty."""
            took = list[float]()
            for _ in range(THREADS):
                thread = uuid.uuid4().hex
                config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
                all_of_it: list[Any] = []
                for number in range(1, LOADED + 1):
                    kind = messages.HumanMessage if number % 2 else messages.AIMessage
                    all_of_it = [*all_of_it, kind(said(number), id=uuid.uuid4().hex)]
                    checkpoint = base.empty_checkpoint()
                    checkpoint["channel_values"] = {"messages": all_of_it}
                    checkpoint["channel_versions"] = {"messages": f"{number:032}.0"}
                    began = time.perf_counter()
                    config = await saver.aput(
                        config,
                        checkpoint,
                        {"source": "update", "step": number, "parents": {}},
                        {"messages": f"{number:032}.0"},
                    )
                    took.append(1000 * (time.perf_counter() - began))
                kept.append(thread)
            return statistics.median(took)

        async def load() -> float:
            """Milliseconds to load fifty."""
            if not kept:
                await keep()
            took = list[float]()
            for _ in range(TURNS):
                began = time.perf_counter()
                found = await saver.aget_tuple(
                    {"configurable": {"thread_id": kept[-1], "checkpoint_ns": ""}}
                )
                took.append(1000 * (time.perf_counter() - began))
                assert len(found.checkpoint["channel_values"]["messages"]) == LOADED
            return statistics.median(took)

        async def answer(state: Any) -> Any:
            return {"messages": [messages.AIMessage(said(len(state["messages"])))]}

        building = graphs.StateGraph(graphs.MessagesState)
        building.add_node("answer", answer)
        building.add_edge(graphs.START, "answer")
        building.add_edge("answer", graphs.END)
        graph = building.compile(checkpointer=saver)

        async def turn() -> float:
            """Milliseconds of a turn that is durable when it returns, at the median."""
            config: Any = {"configurable": {"thread_id": uuid.uuid4().hex}}
            took = list[float]()
            for number in range(TURNS):
                began = time.perf_counter()
                asked = {"messages": [messages.HumanMessage(said(-number))]}
                await graph.ainvoke(asked, config, durability="sync")
                took.append(1000 * (time.perf_counter() - began))
            return statistics.median(took)

        yield {"langgraph keep": keep, "langgraph load": load, "langgraph turn": turn}


@asynccontextmanager
async def _dbos(url: str) -> AsyncIterator[dict[str, Contender]]:
    """A workflow of steps that do nothing but are recorded."""
    dbos = importlib.import_module("dbos")
    config = {
        "name": "bench",
        "system_database_url": url,
        "run_admin_server": False,
        "log_level": "ERROR",
        "enable_otlp": False,
    }
    running = dbos.DBOS(config=config)

    @dbos.DBOS.step()  # type: ignore[untyped-decorator]
    async def step(number: int) -> int:
        return number

    @dbos.DBOS.workflow()  # type: ignore[untyped-decorator]
    async def workflow(steps: int) -> int:
        for number in range(steps):
            await step(number)
        return steps

    dbos.DBOS.launch()

    async def side_by_side(workflows: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(workflow(STEPS) for _ in range(workflows)))
        return workflows * STEPS / (time.perf_counter() - began)

    try:
        yield {"dbos one": lambda: side_by_side(1), "dbos many": lambda: side_by_side(SIDE_BY_SIDE)}
    finally:
        del running
        dbos.DBOS.destroy()


@asynccontextmanager
async def _procrastinate(url: str) -> AsyncIterator[dict[str, Contender]]:
    """Jobs that do nothing, deferred one by one and worked off side by side."""
    procrastinate = importlib.import_module("procrastinate")
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=SIDE_BY_SIDE))

    @app.task(name="nothing")  # type: ignore[untyped-decorator]
    async def nothing() -> None:
        return None

    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        async def jobs() -> float:
            """Jobs a second, deferred and done."""
            began = time.perf_counter()
            for _ in range(JOBS):
                await nothing.defer_async()
            await app.run_worker_async(
                wait=False, concurrency=SIDE_BY_SIDE, install_signal_handlers=False, listen_notify=False
            )
            return JOBS / (time.perf_counter() - began)

        yield {"procrastinate": jobs}


if __name__ == "__main__":
    for needed in NEEDED:
        importlib.import_module(needed)
    if len(sys.argv) > 1:
        asyncio.run(main(json.loads(sys.argv[1])))
