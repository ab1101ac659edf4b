"""Asks the HTTP door of the node on this machine whether it lives: `ccn node health`, for probes.

A container runs it every few seconds, so it imports a handful of small modules and nothing else of CCN, and
reads the few settings it needs by itself: from their variables, else from the file that CCN_SETTINGS names.
It sends nothing secret and stays on this machine, so it does not ask whom the door's certificate is for.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

USAGE = "usage: ccn node health [--ready]"
HEALTHY, UNWELL, MISUSED = 0, 1, 2
TIMEOUT_S = 3.0
_ANSWER_LIMIT = 65_536
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - compared only
_REFUSED = "the door wants certificates of clients, and its own is good for none: probe without --ready"
_OK, _UNAVAILABLE = b"200", b"503"


class _ClientRefused(Exception):
    """The door speaks TLS, and refuses the certificate that it was shown."""


def main(arguments: Sequence[str]) -> int:
    """Ask, say in one line what the door answered, and return the exit code."""
    if any(each != "--ready" for each in arguments):
        print(USAGE, file=sys.stderr)  # noqa: T201 - the printing of the command line imports too much
        return MISUSED
    code, line = ask_door("--ready" in arguments, os.environ)  # noqa: TID251 - settings import too much
    print(line, file=sys.stderr if code else sys.stdout)
    return code


def ask_door(ready: bool, variables: Mapping[str, str]) -> tuple[int, str]:
    """Ask whether the node is ready, or just alive; return the exit code, and why."""
    try:
        http = read_settings(variables)
        host, port = _EVERYWHERE.get(host := http.get("host", ""), host), int(http.get("port", "7700"))
    except (OSError, ValueError) as wrong:
        return MISUSED, f"the settings of the HTTP door cannot be read: {wrong}"
    if port == 0:
        return MISUSED, "CCN_HTTP_PORT is 0, so nobody knows where the door is"
    path = "/ready" if ready else "/health"
    try:
        answer = _fetch(host.strip("[]"), port, path, http)
    except TimeoutError:
        return UNWELL, f"the HTTP door at port {port} does not answer within {TIMEOUT_S:.0f} s"
    except _ClientRefused:
        return (UNWELL, _REFUSED) if ready else (HEALTHY, "healthy, and wants certificates of clients")
    except OSError as refused:
        return UNWELL, f"the HTTP door at port {port} does not answer: {refused.strerror or refused}"
    return _judge(answer, ready)


def read_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what is set of the HTTP door, by the names of its fields."""
    http = dict[str, str]()
    if file := variables.get("CCN_SETTINGS"):
        import tomllib  # noqa: PLC0415 - most containers have no such file

        with open(file, "rb") as opened:  # noqa: PTH123 - pathlib takes a third of the time
            http = {name: str(value) for name, value in tomllib.load(opened).get("http", {}).items()}
    for field in ("host", "port", "tls_certificate", "tls_key", "tls_ca"):
        if value := variables.get(f"CCN_HTTP_{field.upper()}"):
            http[field] = value
    return http


def _fetch(host: str, port: int, path: str, http: Mapping[str, str]) -> bytes:
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as plain:
        line = _wrap(plain, http) if http.get("tls_certificate") else plain
        with line:
            try:
                return _exchange(line, path)
            except OSError as broken:
                if hasattr(broken, "reason"):  # of TLS, after its handshake: it says no to the certificate
                    raise _ClientRefused from None
                raise


def _exchange(line: socket.socket, path: str) -> bytes:
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while len(answer) < _ANSWER_LIMIT and (more := line.recv(8_192)):
        answer += more
    return answer


def _wrap(plain: socket.socket, http: Mapping[str, str]) -> socket.socket:
    """Speak TLS. A door that asks its clients for certificates is shown its own."""
    import ssl  # noqa: PLC0415 - a door without TLS needs none

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if http.get("tls_ca"):
        context.load_cert_chain(http["tls_certificate"], http.get("tls_key"))
    return context.wrap_socket(plain)


def _judge(answer: bytes, ready: bool) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [_OK]:
        return HEALTHY, "ready" if ready else "healthy"
    if ready and status == [_UNAVAILABLE]:
        return UNWELL, f"not ready: {_find_reason(body)}"
    return UNWELL, f"the door answered {status[0].decode(errors='replace') if status else 'nothing'}"


def _find_reason(body: bytes) -> str:
    import json  # noqa: PLC0415 - needed for bad news only

    try:
        checks = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["checks"]
        failing = [
            f"{each['name']}: {each['reason']}" for each in checks if each["needed"] and each["reason"]
        ]
    except (ValueError, KeyError, TypeError):
        return "it does not say why"
    return "; ".join(failing) or "it does not say why"
