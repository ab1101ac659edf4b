"""Where every series is declared, and the page that shows them all.

A series is declared when something sets it, not before: an empty series looks like a healthy one. Labels
are bounded by construction: routes are templates, methods a fixed set, checks are named in the code.
Anybody may read the series: none names a person or a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram, exposition

registry: Final = prometheus_client.CollectorRegistry()
prometheus_client.ProcessCollector(registry=registry)
prometheus_client.PlatformCollector(registry=registry)
prometheus_client.GCCollector(registry=registry)


def counter(name: str, alarm: str, labels: Sequence[str] = ()) -> Counter:
    """Declare what only rises. `alarm` says what it counts, and what is alarming."""
    return Counter(name, alarm, labels, registry=registry)


def gauge(name: str, alarm: str, labels: Sequence[str] = ()) -> Gauge:
    """Declare what rises and falls."""
    return Gauge(name, alarm, labels, registry=registry)


def histogram(name: str, alarm: str, labels: Sequence[str] = (), *, buckets: Sequence[float]) -> Histogram:
    """Declare how often something took how long, counted below each of the bounds."""
    return Histogram(name, alarm, labels, buckets=buckets, registry=registry)


def choose_content_type(accept: str) -> str:
    """Choose the content type in which a scraper that sends `accept` wants the series; there are a few."""
    return str(exposition.choose_encoder(accept)[1])


def render_page(accept: str) -> tuple[bytes, str]:
    """Write all series in that type, and name the type."""
    encode, content_type = exposition.choose_encoder(accept)
    return encode(registry), content_type
