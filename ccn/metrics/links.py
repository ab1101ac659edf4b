"""The certificates that this process shows on its links."""

from __future__ import annotations

from ccn.metrics import series

_certificate_days = series.gauge(
    "ccn_certificate_days_left",
    "Days until the certificate that this node shows on a link ends. Alarming: below 7, or below 20 if it "
    "lasts 90 days.",
    ("link",),
)
_certificate_refused = series.gauge(
    "ccn_certificate_refused",
    "Whether the certificate files of a link cannot be used, so that older ones go on. Alarming: 1 for "
    "longer than a minute; the log says why.",
    ("link",),
)


def set_certificate_days_left(link: str, days: float) -> None:
    """Show how long the certificate of a link lasts."""
    _certificate_days.labels(link).set(days)


def set_certificate_refused(link: str, *, refused: bool) -> None:
    """Show whether the files of a link were refused when they were last read."""
    _certificate_refused.labels(link).set(refused)
