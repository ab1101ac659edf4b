"""What a person sees when the cluster is ready: addresses, no secrets, and commands that can be pasted."""

from __future__ import annotations

import shlex
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from ccn import settings
from ccn.cli.cluster import summary
from ccn.cli.cluster.data_folder import AdminAt, ClusterAt, ClusterFolder, NodeAt

AT = ClusterAt(
    (NodeAt("node-1", 7, "http://127.0.0.1:7700", "127.0.0.1:7701"),),
    "postgresql://ccn:hunter2@127.0.0.1:5432/ccn",
    ("127.0.0.1:2379",),
    AdminAt("admin", "ccn_secret", "shown once"),
)


def told(where: Path) -> str:
    return summary.summary_text(AT, ClusterFolder(where), "18.4", 3.25, colour=False)


def test_addresses_are_told_and_the_password_of_the_database_is_not(tmp_path: Path) -> None:
    said = told(tmp_path)
    for shown in ("after 3.2 s", "http://127.0.0.1:7700", "127.0.0.1:7701", "127.0.0.1:5432/ccn", "2379"):
        assert shown in said
    assert str(tmp_path / "cluster.json") in said
    assert "shown once" in said
    assert "hunter2" not in said
    assert "ccn_secret" not in said


def test_commands_are_told_as_they_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "a place" / "bin"
    bin_.mkdir(parents=True)
    for name in ("python", "ccn"):
        (bin_ / name).write_text("#!/bin/sh\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bin_ / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    (line,) = [line for line in told(tmp_path).splitlines() if "status" in line]
    assert shlex.split(line)[:3] == ["Try", str(bin_ / "ccn"), "status"]
    monkeypatch.chdir(tmp_path / "a place")
    assert summary.program_name() == "bin/ccn"
    monkeypatch.setenv("PATH", str(bin_))
    assert summary.program_name() == "ccn"


def test_money_that_nothing_bounds_is_told_with_the_setting_that_does(tmp_path: Path) -> None:
    told_so = summary.summary_text(AT, ClusterFolder(tmp_path), "18.4", 3.25, colour=False, unbounded=True)
    (line,) = [line for line in told_so.splitlines() if "CCN_CLAUDE_DAILY_BUDGET_DOLLARS" in line]
    assert "without limit" in line
    assert "CCN_CLAUDE" not in told(tmp_path)
    assert settings.ClaudeSettings(api_key=SecretStr("any")).is_unbounded
    assert not settings.ClaudeSettings(stand_in=True).is_unbounded
    assert not settings.ClaudeSettings(daily_budget_dollars=Decimal(5)).is_unbounded
    assert settings.variable_name("claude", "daily_budget_dollars") == settings.BUDGET
