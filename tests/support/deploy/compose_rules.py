"""The rules of the house for a compose file: each says in a line what breaks it. They need no Docker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ccn import settings

Service = dict[str, Any]
Rule = Callable[[str, Service], Iterator[str]]

_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|(?:^|_)KEY$|_URL$")
_SECRET_WORD = re.compile(r"://[^/\s:]+:[^@\s]+@|(?:password|secret|token)=|sk-ant-", re.IGNORECASE)
_IMAGE = re.compile(r"^\$\{\w+:-(?P<name>[\w./-]+):(?P<tag>[\w.-]+)\}$")


def list_complaints(compose: dict[str, Any]) -> list[str]:
    """What breaks a rule, with the service that does."""
    return [
        f"{name}: {complaint}"
        for name, service in compose["services"].items()
        for rule in RULES
        for complaint in rule(name, service)
    ]


def check_settings(_name: str, service: Service) -> Iterator[str]:
    """Every variable of ours is a setting."""
    places = list(settings.list_fields())
    known = {settings.variable_name(*place) for place in places} | {"CCN_SETTINGS"}
    known |= {settings.file_variable_name(*place) for place in places if settings.is_secret(*place)}
    for variable in service.get("environment", {}):
        if variable.startswith("CCN_") and variable not in known:
            yield f"{variable} is no setting"


def check_secrets(_name: str, service: Service) -> Iterator[str]:
    """Secrets are files: none stands in an environment or a command."""
    secret = {
        settings.variable_name(*place) for place in settings.list_fields() if settings.is_secret(*place)
    }
    for variable, value in service.get("environment", {}).items():
        is_file = variable.endswith("_FILE") or str(value).startswith(("/run/secrets/", "http"))
        named = variable in secret or (_SECRET_NAME.search(variable) and not is_file)
        if (named and variable != "MODEL_URL") or _SECRET_WORD.search(str(value)):
            yield f"{variable} may hold a secret"
    for word in (*_words(service.get("command")), *_words(service.get("entrypoint"))):
        if _SECRET_WORD.search(word):
            yield "a word of the command may be a secret"


def check_ports(_name: str, service: Service) -> Iterator[str]:
    """Ports are open on loopback alone."""
    for port in service.get("ports", ()):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is open beyond loopback"


def check_limits(_name: str, service: Service) -> Iterator[str]:
    """Memory has a limit."""
    if not service.get("mem_limit"):
        yield "has no limit of memory"


def check_health(_name: str, service: Service) -> Iterator[str]:
    """What goes on running says how it is."""
    probe = service.get("healthcheck", {})
    if not _runs_once(service) and not {"test", "interval", "timeout", "start_period"} <= probe.keys():
        yield "has no probe with interval, timeout and start_period"


def check_restart(_name: str, service: Service) -> Iterator[str]:
    """What goes on running comes back, and has time to end."""
    if not _runs_once(service) and service.get("restart") != "unless-stopped":
        yield "does not come back"
    if not service.get("stop_grace_period"):
        yield "has no time to end"


def check_image(_name: str, service: Service) -> Iterator[str]:
    """Images are variables, with a version."""
    found = _IMAGE.match(str(service.get("image")))
    if found is None or found["tag"] == "latest":
        yield "its image is no variable with a version"


def check_rights(_name: str, service: Service) -> Iterator[str]:
    """Containers may do little."""
    if service.get("cap_drop") != ["ALL"] or not service.get("read_only"):
        yield "keeps capabilities, or may write to its root"
    if "no-new-privileges:true" not in service.get("security_opt", ()) or service.get("privileged"):
        yield "may gain privileges"
    if service.get("init") is not False:
        yield "has another process 1 than its own"


def check_networks(_name: str, service: Service) -> Iterator[str]:
    """There are two networks, and none that is everybody's."""
    networks = set(service.get("networks", ()))
    if service.get("network_mode") != "none" and not (networks and networks <= {"doors", "inside"}):
        yield "is in other networks than doors and inside"


def check_order(_name: str, service: Service) -> Iterator[str]:
    """What is waited for is well, or done."""
    wanted = {"service_healthy", "service_completed_successfully"}
    for other, how in service.get("depends_on", {}).items():
        if how.get("condition") not in wanted:
            yield f"does not wait until {other} is well"


def _runs_once(service: Service) -> bool:
    return service.get("restart") == "no"


def _words(given: object) -> list[str]:
    return [given] if isinstance(given, str) else [str(each) for each in given or ()]  # type: ignore[attr-defined]


RULES: tuple[Rule, ...] = (
    check_settings,
    check_secrets,
    check_ports,
    check_limits,
    check_health,
    check_restart,
    check_image,
    check_rights,
    check_networks,
    check_order,
)
