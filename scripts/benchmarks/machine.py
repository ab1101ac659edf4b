"""How fast this machine hashes, syncs and answers on loopback: what the other figures stand on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import tempfile
import time

from scripts.benchmarks import harness

SYNCS, ECHOES = 50, 500


async def run(rounds: int) -> harness.Report:
    """Measure all three in each round."""
    got = await harness.measure(rounds, {"hash": hashing, "sync": syncing, "echo": echoing})
    figures = [
        harness.Figure("SHA-256 over 16 MiB", "MiB/s", got.of["hash"]),
        harness.Figure("append 256 bytes and fdatasync, p50", "ms", got.of["sync"], better="less"),
        harness.Figure("TCP echo on loopback, p50", "ms", got.of["echo"], better="less"),
    ]
    return harness.Report(figures, [got])


async def hashing() -> float:
    """Measure hashing in MiB per second."""
    block = bytes(16 << 20)
    since = time.perf_counter()
    hashlib.sha256(block).digest()
    return 16 / (time.perf_counter() - since)


async def syncing() -> float:
    """Measure the milliseconds until an appended record is on disk."""
    took = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(SYNCS):
            since = time.perf_counter()
            file.write(bytes(256))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - since)
    return statistics.median(took) * 1000


async def echoing() -> float:
    """Measure the milliseconds for a small message there and back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    took = []
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(ECHOES):
            since = time.perf_counter()
            writer.write(b"hello\n")
            await reader.readline()
            took.append(time.perf_counter() - since)
        writer.close()
        await writer.wait_closed()
    return statistics.median(took) * 1000
