"""The floor of the HTTP door: FastAPI that echoes, on the same uvicorn, in a process of its own."""

from __future__ import annotations

import asyncio
import sys

import uvicorn
import uvloop
from fastapi import FastAPI

app = FastAPI()


@app.get("/echo/{said}")
async def echo(said: str) -> dict[str, str]:
    return {"said": said}


def main(port: int) -> None:
    config = uvicorn.Config(app, port=port, loop="none", http="httptools", log_level="critical")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
