"""The ways in: requests, sign-ins, sockets, and whom a limit turned away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Final

import prometheus_client

from ccn.metrics import series

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_http_requests = series.counter(
    "ccn_http_requests_total",
    "HTTP requests answered. Alarming: more than 1 in 1000 with a status of 500 or above.",
    ("method", "route", "status"),
)
_http_duration = series.histogram(
    "ccn_http_request_duration_seconds",
    "Time from the first byte of a request to the last of its answer. Alarming: 95 % above 0.2 s.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30),
)
_sign_ins = series.counter(
    "ccn_sign_ins_total",
    "Attempts to sign in with a password. Alarming: many refused, which is somebody guessing.",
    ("outcome",),
)
_limits_degraded = series.gauge(
    "ccn_rate_limits_degraded",
    "Whether this node counts requests alone although Redis is configured. Alarming: 1 for over a minute.",
)
_sockets = series.gauge(
    "ccn_websocket_connections_active",
    "WebSockets that are open on this node. Alarming: a fall to 0 within a minute.",
)
_turned_away = series.counter(
    "ccn_connections_turned_away_total",
    "Connections ended or refused by a limit, by door and reason: address, full, or silent. Alarming: any "
    "for longer than a minute, which is somebody taking too much, or a limit that is too low.",
    ("door", "reason"),
)


def count_answer(method: str, route: str, status: int, seconds: float) -> None:
    """Count an HTTP request that was answered. `route` is the template that matched, not the path."""
    requests, duration = _http_series(method if method in _METHODS else "other", route, status)
    requests.inc()
    duration.observe(seconds)


@cache
def _http_series(
    method: str, route: str, status: int
) -> tuple[prometheus_client.Counter, prometheus_client.Histogram]:
    """Look the series up once: the labels are bounded, and every request comes here."""
    return _http_requests.labels(method, route, str(status)), _http_duration.labels(method, route)


def count_sign_in(*, succeeded: bool) -> None:
    """Count an attempt to sign in with a name and a password."""
    _sign_ins.labels("accepted" if succeeded else "refused").inc()


def set_limits_degraded(*, degraded: bool) -> None:
    """Show whether Redis is lost for counting requests."""
    _limits_degraded.set(degraded)


@contextlib.contextmanager
def count_open_socket() -> Iterator[None]:
    """Count a WebSocket as open for as long as the block lasts."""
    _sockets.inc()
    try:
        yield
    finally:
        _sockets.dec()


def count_turned_away(door: str, reason: str, connections: int = 1) -> None:
    """Count connections that were ended or refused."""
    _turned_away.labels(door, reason).inc(connections)
