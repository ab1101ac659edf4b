"""Every Prometheus series once; no other package imports the library.

    process      what this process is, and whether it may be sent work
    doors        requests, sign-ins, sockets, and whom a limit turned away
    gateways     gateways and voters, as each sees the other
    links        certificates
    database     replicas
    instances    how many, and their spawning
    spending     tokens and dollars
    character    drift, distance from the plate, restorations
    measures     the measures of conversations
    rounds       outcome and duration
    series       how a series is declared, and the page that shows all of them

    metrics.doors.count_answer("GET", "/status", 200, 0.004)

All are imported here: the page shows the same series whatever else a process imports.
"""

from __future__ import annotations

from ccn.metrics import (
    character,
    database,
    doors,
    gateways,
    instances,
    links,
    measures,
    process,
    rounds,
    series,
    spending,
)

__all__ = (
    "character",
    "database",
    "doors",
    "gateways",
    "instances",
    "links",
    "measures",
    "process",
    "rounds",
    "series",
    "spending",
)
