"""The programs in scripts/examples run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.continuity.conftest import Program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("example", ["own_loop", "grpc_client"])
async def test_the_examples_run(program: Program, example: str) -> None:
    given = ["--target", program.door.target, "--api-key", program.key, "--character", "ada"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "scripts" / "examples" / f"{example}.py"),
        *given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, err.decode()
    said = out.decode()
    assert ("4 assistant: I was asked" if example == "own_loop" else "Well, I am here.") in said
