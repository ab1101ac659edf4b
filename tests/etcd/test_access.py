"""What the settings say about etcd is one way to reach it, or is refused at the start in words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ccn import errors, settings
from ccn.certificates import issuing
from ccn.etcd import access
from ccn.etcd.access import EtcdAccess
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.signin import EtcdUser
from tests.support.peers import peer_node


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A certificate and its key, an authority, another key, and a file that is not PEM."""
    authority = issuing.issue_authority(datetime.now(UTC))
    pair, other = (peer_node.identity_of(authority, peer_node.ONE) for _ in range(2))
    files = {"ca": pair.ca, "certificate": pair.certificate, "key": pair.key, "other": other.key}
    for name, text in files.items():
        assert text is not None
        (tmp_path / f"{name}.pem").write_bytes(text)
    (tmp_path / "nothing.pem").write_text("nothing")
    return tmp_path


def chosen(
    folder: Path,
    *endpoints: str,
    user: str = "",
    password: str = "",
    insecure: bool = False,
    **files: str,
) -> settings.EtcdSettings:
    named: dict[str, Any] = {name: folder / f"{file}.pem" for name, file in files.items()}
    return settings.EtcdSettings(
        endpoints=endpoints, user=user, password=SecretStr(password), insecure=insecure, **named
    )


def read(group: settings.EtcdSettings) -> EtcdAccess:
    return access.read_access(group, datetime.now(UTC))


def test_without_more_than_endpoints_nothing_is_shown(folder: Path) -> None:
    servers = ("127.0.0.1:2379", "[::1]:2379", "etcd.example.org:2379")
    assert read(chosen(folder, *servers, insecure=True)) == EtcdAccess(servers)
    schemes = [f"http://{each}/" for each in servers]
    assert read(chosen(folder, *schemes, insecure=True)) == EtcdAccess(servers)


@pytest.mark.parametrize("server", ["10.0.0.7:2379", "http://etcd.example.org:2379"])
def test_servers_beyond_this_machine_in_the_clear_say_what_to_set(folder: Path, server: str) -> None:
    with pytest.raises(errors.SettingsInvalid) as refused:
        read(chosen(folder, "127.0.0.1:1", server.removeprefix("http://")))
    for words in ("CCN_ETCD_ENDPOINTS", "CCN_ETCD_CA", "https://", "CCN_ETCD_INSECURE=true"):
        assert words in str(refused.value)


def test_an_authority_or_https_means_tls(folder: Path) -> None:
    def pem(name: str) -> bytes:
        return (folder / f"{name}.pem").read_bytes()

    assert read(chosen(folder, "a:1", ca="ca")) == EtcdAccess(("a:1",), EtcdTls(pem("ca")))
    assert read(chosen(folder, "https://a:1")) == EtcdAccess(("a:1",), EtcdTls(None))
    shown = EtcdTls(*map(pem, ("ca", "certificate", "key")))
    mutual = chosen(folder, "https://a:1", ca="ca", certificate="certificate", key="key")
    assert read(mutual) == EtcdAccess(("a:1",), shown)


def test_a_user_has_a_password_that_is_never_shown(folder: Path) -> None:
    found = read(chosen(folder, "127.0.0.1:1", user="ccn", password="hunter2"))
    assert found.user == EtcdUser("ccn", "hunter2")
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(("server", "warned"), [("127.0.0.1:1", 0), ("10.0.0.7:1", 1), ("https://a:1", 0)])
def test_a_password_that_travels_in_the_clear_is_warned_about(
    folder: Path, server: str, warned: int
) -> None:
    with capture_logs() as logs:
        read(chosen(folder, server, user="ccn", password="hunter2", insecure=True))
    assert len(logs) == warned


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"endpoints": ("a",)}, "'a' must be host:port, or https://host:port for TLS"),
        ({"endpoints": ("https://a",)}, "'https://a' must be host:port"),
        ({"endpoints": ("a:b",)}, "must be host:port"),
        ({"endpoints": ("unix://a:1",)}, "must be host:port"),
        ({"endpoints": ("https://ann:hunter2@a:1",)}, "a user belongs into CCN_ETCD_USER"),
        ({"endpoints": ("https://a:1/v3",)}, "must be host:port"),
        ({"endpoints": ("https://a:1", "b:1")}, "write all servers with https://, or none"),
        (
            {"endpoints": ("http://a:1",), "ca": "ca"},
            "CCN_ETCD_CA is set, but CCN_ETCD_ENDPOINTS says http",
        ),
        ({"certificate": "certificate"}, "CCN_ETCD_KEY must be set too"),
        ({"key": "key"}, "CCN_ETCD_CERTIFICATE must be set too"),
        ({"certificate": "certificate", "key": "key"}, "CCN_ETCD_CERTIFICATE needs TLS: set CCN_ETCD_CA"),
        (
            {"ca": "ca", "certificate": "certificate", "key": "other"},
            "CCN_ETCD_KEY is not the key of CCN_ETCD_CERTIFICATE",
        ),
        ({"ca": "nowhere"}, "CCN_ETCD_CA: "),
        ({"ca": "nothing"}, "nothing.pem is not a PEM file"),
        ({"user": "ccn"}, "CCN_ETCD_PASSWORD must be set too"),
        ({"password": "hunter2"}, "CCN_ETCD_USER must be set too"),
    ],
)
def test_what_no_server_could_mend_is_refused_by_name(
    folder: Path, given: dict[str, Any], words: str
) -> None:
    rest = {name: value for name, value in given.items() if name != "endpoints"}
    with pytest.raises(errors.SettingsInvalid) as refused:
        read(chosen(folder, *given.get("endpoints", ("a:1",)), **rest))
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)
