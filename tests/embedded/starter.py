"""A process of its own that runs an embedded service until it is told to stop: what the tests kill.

Reads one JSON object from its argument, prints one JSON line when the service is ready or has failed, and
ends when its standard input does. Everything is imported before it becomes another user, because that user
may not reach the checkout.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - needed after the change of user
import encodings.idna  # noqa: F401 - needed after the change of user
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from ccn import errors
from ccn.embedded import child, etcd, supervision
from ccn.embedded.postgres import service


async def main(wish: dict[str, Any]) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, stopping.set)
    try:
        async with _service(wish) as running:
            _say(
                pid=running.pid,
                url=getattr(running, "url", ""),
                endpoints=getattr(running, "endpoints", ()),
            )
            await stopping.wait()
    except errors.CCNError as failed:
        _say(error=type(failed).__name__, message=str(failed))


def _service(wish: dict[str, Any]) -> Any:
    given = Path(wish["bin"]) if wish.get("bin") else None
    match wish["service"]:
        case "postgres":
            data = Path(wish["data"])
            return service.run_postgres(data, bin=given, ephemeral=wish.get("ephemeral", False))
        case "etcd":
            return etcd.run_etcd(bin=given)
        case "child":
            return supervision.supervise_child(
                "sleep", lambda: child.start(["sleep", "600"], death_signal=signal.SIGTERM), ready=None
            )
        case other:
            raise ValueError(other)


def _say(**told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # A shell that runs the tests in its background has all of them ignore Ctrl-C; this one is to obey it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = json.loads(sys.argv[1])
    if limit := wanted.get("file_limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if uid := wanted.get("uid"):
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    os.umask(0o022)
    asyncio.run(main(wanted))
