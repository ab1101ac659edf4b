"""Every Prometheus series once; nobody else imports the library.

A series is declared when something sets it, not before: an empty series looks like a healthy one. Labels
are bounded by construction: routes are templates, methods a fixed set, checks are named in the code.
"""

from __future__ import annotations

from typing import Final

import prometheus_client
from prometheus_client import exposition

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

registry: Final = prometheus_client.CollectorRegistry()
prometheus_client.ProcessCollector(registry=registry)
prometheus_client.PlatformCollector(registry=registry)
prometheus_client.GCCollector(registry=registry)

_http_requests = prometheus_client.Counter(
    "ccn_http_requests_total",
    "HTTP requests answered. Alarming: more than 1 in 1000 with a status of 500 or above.",
    ("method", "route", "status"),
    registry=registry,
)
_http_duration = prometheus_client.Histogram(
    "ccn_http_request_duration_seconds",
    "Time from the first byte of a request to the last of its answer. Alarming: 95 % above 0.2 s.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
_ready = prometheus_client.Gauge(
    "ccn_ready",
    "Whether a check of this node's readiness passes. Alarming: 0 for longer than a minute.",
    ("check",),
    registry=registry,
)
_build = prometheus_client.Gauge(
    "ccn_build_info",
    "Always 1; the labels tell what runs here. Alarming: two versions outside of an upgrade.",
    ("node", "version"),
    registry=registry,
)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """An HTTP request was answered; `route` is the template that matched, not the path."""
    known = method if method in _METHODS else "other"
    _http_requests.labels(known, route, str(status)).inc()
    _http_duration.labels(known, route).observe(seconds)


def checked(check: str, *, passes: bool) -> None:
    """A check of this node's readiness gave an answer."""
    _ready.labels(check).set(passes)


def built(node: str, version: str) -> None:
    """This process is that node of that version."""
    _build.labels(node, version).set(1)


def page(accept: str) -> tuple[bytes, str]:
    """All series as a scraper that sends `accept` wants them, and the content type."""
    encode, content_type = exposition.choose_encoder(accept)
    return encode(registry), content_type
