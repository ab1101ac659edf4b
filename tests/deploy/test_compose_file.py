"""The compose file keeps the rules of the house, and each rule catches what breaks it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy import compose_rules

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
Mutant = Callable[[dict[str, Any]], object]


@pytest.fixture
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return copy.deepcopy(read)  # anchors would share what a mutant changes


def test_the_file_keeps_every_rule(compose: dict[str, Any]) -> None:
    assert compose_rules.list_complaints(compose) == []


MUTANTS: dict[str, tuple[str, Mutant]] = {
    "CCN_NODE_IDENTITY is no setting": ("node-1", lambda s: s["environment"].update(CCN_NODE_IDENTITY="a")),
    "CCN_CLAUDE_API_KEY may hold a secret": (
        "node-1",
        lambda s: s["environment"].update(CCN_CLAUDE_API_KEY="${CCN_CLAUDE_API_KEY}"),
    ),
    "POSTGRES_PASSWORD may hold a secret": (
        "postgres",
        lambda s: s["environment"].update(POSTGRES_PASSWORD="${POSTGRES_PASSWORD}"),
    ),
    "ETCD_NAME may hold a secret": (
        "etcd-1",
        lambda s: s["environment"].update(ETCD_NAME="http://root:word@etcd-1"),
    ),
    "a word of the command may be a secret": (
        "redis",
        lambda s: s["command"].extend(["--uri", "redis://ccn:word@redis"]),
    ),
    "port 7743:7743 is open beyond loopback": ("proxy", lambda s: s.update(ports=["7743:7743"])),
    "has no limit of memory": ("etcd-2", lambda s: s.pop("mem_limit")),
    "has no probe with interval, timeout and start_period": (
        "gateway",
        lambda s: s["healthcheck"].pop("start_period"),
    ),
    "does not come back": ("prometheus", lambda s: s.update(restart="always")),
    "has no time to end": ("postgres", lambda s: s.pop("stop_grace_period")),
    "its image is no variable with a version": (
        "redis",
        lambda s: s.update(image="${REDIS_IMAGE:-valkey/valkey:latest}"),
    ),
    "keeps capabilities, or may write to its root": ("stand-in", lambda s: s.pop("read_only")),
    "may gain privileges": ("node-2", lambda s: s.pop("security_opt")),
    "has another process 1 than its own": ("node-3", lambda s: s.update(init=True)),
    "is in other networks than doors and inside": ("operator", lambda s: s.pop("networks")),
    "does not wait until setup is well": (
        "node-1",
        lambda s: s["depends_on"].update(setup={"condition": "service_started"}),
    ),
}


@pytest.mark.parametrize("complaint", MUTANTS)
def test_a_file_that_breaks_a_rule_is_caught(complaint: str, compose: dict[str, Any]) -> None:
    name, mutate = MUTANTS[complaint]
    service = copy.deepcopy(compose["services"][name])
    mutate(service)
    compose["services"][name] = service
    assert compose_rules.list_complaints(compose) == [f"{name}: {complaint}"]


def test_no_other_network_has_a_way_out(compose: dict[str, Any]) -> None:
    assert {name for name, network in compose["networks"].items() if network.get("internal")} == {"inside"}


def test_the_authority_is_seen_by_nobody_but_who_issues(compose: dict[str, Any]) -> None:
    mounts = {
        name
        for name, service in compose["services"].items()
        if any(str(volume).startswith("authority:") for volume in service.get("volumes", ()))
    }
    assert mounts == {"credentials"}


def test_secrets_are_written_by_nobody_but_who_makes_them(compose: dict[str, Any]) -> None:
    writers = {
        name
        for name, service in compose["services"].items()
        for volume in service.get("volumes", ())
        if "-secrets:" in str(volume) and not str(volume).endswith(":ro")
    }
    assert writers == {"credentials", "setup", "operator"}


def test_the_example_tells_of_every_variable_in_a_sentence() -> None:
    used = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    lines = (FOLDER / ".env.example").read_text().splitlines()
    told = {line.lstrip("#").partition("=")[0] for line in lines if re.match(r"#\w+=", line)}
    assert used | {"CCN_CLAUDE_API_KEY", "ANTHROPIC_API_KEY"} == told
    blocks = re.split(r"\n(?=# )", "\n".join(lines))
    assert [
        block
        for block in blocks
        if re.search(r"^#\w+=", block, re.MULTILINE) and not block.startswith("# ")
    ] == []


def test_the_example_says_what_holds_without_it() -> None:
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (FOLDER / "compose.yaml").read_text()))
    example = dict(re.findall(r"^#(\w+)=(.*)$", (FOLDER / ".env.example").read_text(), re.MULTILINE))
    assert {name: example[name] for name in defaults} == defaults


def test_the_file_of_local_images_names_each_image() -> None:
    images = set(re.findall(r"image: \$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    assert set(re.findall(r"^(\w+)=", (FOLDER / "local.env").read_text(), re.MULTILINE)) == images
