"""The units of systemd say what systemd and CCN know, and forbid what a node does not need."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from ccn import settings
from ccn.settings import environment, explain

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = ("ccn-node.service", "ccn-gateway.service")
FORBIDDEN = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "SystemCallFilter=@system-service",
    "UMask=0077",
    "User=ccn",
)
needs_systemd = pytest.mark.usefixtures("systemd_analyze")


@pytest.fixture
def systemd_analyze() -> None:
    """Whether it is here the head of the output says; without it these tests are left out."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def stage(unit: str, folder: Path, **changes: str) -> Path:
    """The unit with a program that exists, and with these options changed."""
    words = (FOLDER / unit).read_text().replace("/opt/ccn/bin/ccn", "/bin/true")
    for option, value in changes.items():
        words = re.sub(rf"^{option}=.*$", value, words, flags=re.MULTILINE)
    (folder / unit).write_text(words)
    return folder / unit


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_knows_every_option_and_its_value(unit: str, tmp_path: Path) -> None:
    done = analyze("verify", stage(unit, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_an_option_that_systemd_does_not_know_is_seen(tmp_path: Path) -> None:
    done = analyze("verify", stage(UNITS[0], tmp_path, ProtectHome="ProtectHoem=yes"))
    assert "ProtectHoem" in done.stderr


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_little_that_a_unit_may_do_beyond_its_work(unit: str) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", FOLDER / unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_forbids_what_a_node_does_not_need(unit: str) -> None:
    lines = (FOLDER / unit).read_text().splitlines()
    assert [option for option in FORBIDDEN if option not in lines] == []


@pytest.mark.parametrize("unit", UNITS)
def test_every_variable_is_a_setting_and_secrets_come_as_credentials(unit: str) -> None:
    words = (FOLDER / unit).read_text()
    places = list(explain.list_fields())
    secret = {place for place in places if explain.is_secret(*place)}
    known = {explain.variable_name(*place) for place in places if place not in secret}
    known |= {explain.file_variable_name(*place) for place in secret} | {environment.FILE_VARIABLE}
    assert set(re.findall(r"^Environment=(CCN_\w+)=", words, re.MULTILINE)) <= known
    given = set(re.findall(r"^LoadCredential=([\w-]+):/etc/ccn/secrets/", words, re.MULTILINE))
    assert set(re.findall(r"^Environment=CCN_\w+_FILE=%d/([\w-]+)$", words, re.MULTILINE)) == given


def test_a_node_has_the_time_to_hand_over_and_to_stop() -> None:
    words = (FOLDER / "ccn-node.service").read_text()
    drains_s = re.search(r"^ExecStop=-/opt/ccn/bin/ccn drain --self --wait (\d+)$", words, re.MULTILINE)
    limit_s = re.search(r"^TimeoutStopSec=(\d+)$", words, re.MULTILINE)
    assert drains_s is not None
    assert limit_s is not None
    answer_s = 30
    assert int(limit_s[1]) >= answer_s + int(drains_s[1]) + settings.NodeSettings().shutdown_timeout_s


def test_the_example_of_three_machines_is_read_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CCN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(environment.FILE_VARIABLE, str(FOLDER / "ccn.toml"))
    reading = settings.load_with_origins()
    assert reading.settings.cluster.size == 3
    assert len(reading.settings.etcd.endpoints) == 3
    assert reading.settings.peers.advertise == "node-1.example.org:7702"
    assert reading.ignored == ()
