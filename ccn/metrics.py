"""Every Prometheus series once; no other module imports the library.

A series is declared when something sets it, not before: an empty series looks like a healthy one. Labels
are bounded by construction: routes are templates, methods a fixed set, checks are named in the code.
Anybody may read the series: none names a person or a conversation.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Final

import prometheus_client
from prometheus_client import exposition

from ccn.core.calls.call import TokenUsage
from ccn.core.calls.price import DOLLAR

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
_protocol = prometheus_client.Gauge(
    "ccn_protocol",
    "The protocol in force, 0 while it is not known. Alarming: nodes that disagree for a minute.",
    registry=registry,
)
_protocol_supported = prometheus_client.Gauge(
    "ccn_protocol_supported",
    "Whether this program speaks the protocol in force. Alarming: 0, this node takes no part in rounds.",
    registry=registry,
)

_certificate_days = prometheus_client.Gauge(
    "ccn_certificate_days_left",
    "Days until the certificate that this node shows on a link ends. Alarming: below 7, or below 20 if it "
    "lasts 90 days.",
    ("link",),
    registry=registry,
)
_certificate_refused = prometheus_client.Gauge(
    "ccn_certificate_refused",
    "Whether the certificate files of a link cannot be used, so that older ones go on. Alarming: 1 for "
    "longer than a minute; the log says why.",
    ("link",),
    registry=registry,
)

_role = prometheus_client.Gauge(
    "ccn_node_role",
    "Always 1; the label tells whether this process is a voter or a gateway. Alarming: no voter.",
    ("role",),
    registry=registry,
)
_voter_questions = prometheus_client.Counter(
    "ccn_voter_questions_total",
    "Questions of this gateway to voters. Alarming: many with an outcome that tells of no answer.",
    ("method", "outcome"),
    registry=registry,
)
_gateways = prometheus_client.Gauge(
    "ccn_gateways_seen",
    "Gateways that asked this node something lately. Alarming: fewer than there should be.",
    registry=registry,
)
_replica_reads = prometheus_client.Counter(
    "ccn_replica_reads_total",
    "Reads that a replica of the database might answer, by outcome: replica, or why the primary did: none "
    "was fit, late, conflict, lost. Alarming: more than 1 in 10 on the primary for longer than a minute.",
    ("outcome",),
    registry=registry,
)
_replica_used = prometheus_client.Gauge(
    "ccn_replica_used",
    "Whether this node reads from a replica, by its place in CCN_DATABASE_REPLICA_URL. Alarming: 0 for "
    "longer than a minute; the log says why.",
    ("replica",),
    registry=registry,
)
_replica_lag = prometheus_client.Gauge(
    "ccn_replica_lag_seconds",
    "How late a replica is, as this node sees it; no series while it does not answer. Alarming: above 1 s "
    "for longer than a minute.",
    ("replica",),
    registry=registry,
)

_sign_ins = prometheus_client.Counter(
    "ccn_sign_ins_total",
    "Attempts to sign in with a password. Alarming: many refused, which is somebody guessing.",
    ("outcome",),
    registry=registry,
)
_limits_degraded = prometheus_client.Gauge(
    "ccn_rate_limits_degraded",
    "Whether this node counts requests alone although Redis is configured. Alarming: 1 for over a minute.",
    registry=registry,
)
_instances = prometheus_client.Gauge(
    "ccn_active_instances",
    "Instances that live on this node. Alarming: at the limit of CCN_INSTANCES_LIMIT.",
    registry=registry,
)
_conversations = prometheus_client.Gauge(
    "ccn_total_conversations",
    "Conversations in the record, as this node counted them last; the same on every node. Alarming: fewer.",
    registry=registry,
)
_spawns = prometheus_client.Histogram(
    "ccn_instance_spawn_seconds",
    "Time to spawn an instance, from the request to the end of its interview. Alarming: 95 % above 5 s.",
    ("outcome",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=registry,
)
_api_tokens = prometheus_client.Counter(
    "ccn_api_tokens_total",
    "Tokens that calls to the model used, by kind. Alarming: cache_read far below input for an hour.",
    ("model", "kind"),
    registry=registry,
)
_api_cost = prometheus_client.Counter(
    "ccn_api_cost_dollars_total",
    "Dollars that calls to the model cost. Alarming: a day's pace that exceeds the daily budget.",
    ("model",),
    registry=registry,
)
_sockets = prometheus_client.Gauge(
    "ccn_websocket_connections_active",
    "WebSockets that are open on this node. Alarming: a fall to 0 within a minute.",
    registry=registry,
)
_turned_away = prometheus_client.Counter(
    "ccn_connections_turned_away_total",
    "Connections ended or refused by a limit, by door and reason: address, full, or silent. Alarming: any "
    "for longer than a minute, which is somebody taking too much, or a limit that is too low.",
    ("door", "reason"),
    registry=registry,
)
_unscored = prometheus_client.Counter(
    "ccn_unscored_replies_total",
    "Replies that could not be scored, or came too fast to be. Alarming: any, for longer than a minute.",
    registry=registry,
)
_restorations = prometheus_client.Counter(
    "ccn_restorations_total",
    "Steps taken about instances that seemed out of character. Alarming: quarantine, or many of any other.",
    ("step",),
    registry=registry,
)
_SHOWN: Final = 100
"""Conversations whose measures are series: the most recently active ones."""
_of_conversations: Final = {
    "phi": prometheus_client.Gauge(
        "consciousness_phi_score",
        "Integration of a conversation's scores, 1 - exp(-phi): a statistical estimate; no series where "
        "it is not estimable. Alarming: a fall by half within an hour.",
        ("conversation",),
        registry=registry,
    ),
    "ccc": prometheus_client.Gauge(
        "consciousness_ccc_score",
        "Consistency of the character's instances, 1 identical, 0 strangers: an estimate; no series where "
        "it is not estimable. Alarming: below 0.87.",
        ("conversation",),
        registry=registry,
    ),
    "trust": prometheus_client.Gauge(
        "consciousness_trust_score",
        "Trust by checks that were passed or failed, one half before the first. Alarming: below 0.5.",
        ("conversation",),
        registry=registry,
    ),
    "emergence": prometheus_client.Gauge(
        "consciousness_emergence_score",
        "Psi of the character's rounds over chance, as a logistic: an estimate, 0.5 is chance, and "
        "agreement lowers it; no series where it is not estimable. Alarming: nothing by itself.",
        ("conversation",),
        registry=registry,
    ),
}
_shown: Final = OrderedDict[str, None]()
_drift = prometheus_client.Gauge(
    "ccn_character_drift",
    "The largest drift from the round's median among this node's instances of a character. Alarming: above "
    "0.10 for longer than five minutes.",
    ("character",),
    registry=registry,
)
_charter = prometheus_client.Gauge(
    "ccn_character_charter_distance",
    "How far the last replies of all instances of a character are from what its plate alone leads to; it "
    "shows also what all do together, which no median shows. Alarming: 0.10 above what is usual.",
    ("character",),
    registry=registry,
)
_rounds = prometheus_client.Counter(
    "ccn_consensus_rounds_total",
    "Rounds this node led, by outcome: committed or failed. Alarming: more than one in ten failed.",
    ("outcome",),
    registry=registry,
)
_round_latency = prometheus_client.Histogram(
    "ccn_consensus_latency_seconds",
    "Time of a round this node led, to its outcome. Alarming: 95 % above half of the round's limit.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
_outliers = prometheus_client.Counter(
    "ccn_outlier_instances_total",
    "Instances beyond the tolerance, counted in each block this node committed. Alarming: a steady rise.",
    registry=registry,
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


def set_check(check: str, *, passes: bool) -> None:
    """Show the answer of a check of this node's readiness."""
    _ready.labels(check).set(passes)


def set_build(node: str, version: str) -> None:
    """Show which node of which version this process is."""
    _build.labels(node, version).set(1)


def set_role(role: str) -> None:
    """Show what this process is."""
    _role.labels(role).set(1)


def count_voter_question(method: str, outcome: str) -> None:
    """Count a question of this gateway that a voter answered, or did not."""
    _voter_questions.labels(method, outcome).inc()


def set_gateways(count: int) -> None:
    """Show how many gateways this node has heard of lately."""
    _gateways.set(count)


def set_certificate_days_left(link: str, days: float) -> None:
    """Show how long the certificate of a link lasts."""
    _certificate_days.labels(link).set(days)


def set_certificate_refused(link: str, *, refused: bool) -> None:
    """Show whether the files of a link were refused when they were last read."""
    _certificate_refused.labels(link).set(refused)


def set_protocol(in_force: int | None, *, supported: bool) -> None:
    """Show which protocol is in force, and whether this program speaks it."""
    _protocol.set(in_force or 0)
    _protocol_supported.set(supported)


def count_replica_read(outcome: str) -> None:
    """Count a read by where it was answered, or why not on a replica."""
    _replica_reads.labels(outcome).inc()


def set_replica(place: int, *, used: bool, lag_s: float | None) -> None:
    """Show how a replica was found."""
    _replica_used.labels(str(place)).set(used)
    if lag_s is not None:
        _replica_lag.labels(str(place)).set(lag_s)
        return
    with contextlib.suppress(KeyError):
        _replica_lag.remove(str(place))


def count_sign_in(*, succeeded: bool) -> None:
    """Count an attempt to sign in with a name and a password."""
    _sign_ins.labels("accepted" if succeeded else "refused").inc()


def set_limits_degraded(*, degraded: bool) -> None:
    """Show whether Redis is lost for counting requests."""
    _limits_degraded.set(degraded)


def set_instances(instances: int) -> None:
    """Show how many instances live here."""
    _instances.set(instances)


def set_conversations(conversations: int) -> None:
    """Show how many conversations are in the record."""
    _conversations.set(conversations)


def observe_spawn(seconds: float, *, succeeded: bool) -> None:
    """Time the spawning of an instance, successful or not."""
    _spawns.labels("running" if succeeded else "failed").observe(seconds)


def count_payment(model: str, usage: TokenUsage, microdollars: int) -> None:
    """Count what a settled call to the model cost. Models are those that have a price."""
    for kind in ("input", "output", "cache_read", "cache_write"):
        _api_tokens.labels(model, kind).inc(getattr(usage, kind))
    _api_cost.labels(model).inc(microdollars / DOLLAR)


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


def count_unscored() -> None:
    """Count a reply that will have no score."""
    _unscored.inc()


def count_restoration(step: str) -> None:
    """Count a step of the ladder, or an alarm that was cleared."""
    _restorations.labels(step).inc()


def set_measures(conversation: str, scores: Mapping[str, float | None]) -> None:
    """Show the measures of a conversation, under the name that `core.series_names` gives it, not its id.

    Of too many conversations the least recently active one goes.
    """
    _shown[conversation] = None
    _shown.move_to_end(conversation)
    for name, gauge in _of_conversations.items():
        value = scores.get(name)
        if value is None:
            gauge.remove(conversation)
        else:
            gauge.labels(conversation).set(value)
    while len(_shown) > _SHOWN:
        _remove_measures(next(iter(_shown)))


def retain_measures(conversations: Collection[str]) -> None:
    """Remove the others: they ended, or live on another node, which shows them."""
    for conversation in [shown for shown in _shown if shown not in conversations]:
        _remove_measures(conversation)


def _remove_measures(conversation: str) -> None:
    del _shown[conversation]
    for gauge in _of_conversations.values():
        gauge.remove(conversation)


def set_drifts(largest: Mapping[str, float]) -> None:
    """Show how far the furthest instance here is from the median, for each character that has one."""
    _drift.clear()
    for character, drift in largest.items():
        _drift.labels(character).set(drift)


def set_charter_distance(character: str, distance: float | None) -> None:
    """Show how far a character is from its charter. What is not estimable has no series."""
    if distance is None:
        with contextlib.suppress(KeyError):
            _charter.remove(character)
    else:
        _charter.labels(character).set(distance)


def observe_round(seconds: float, outliers: int | None) -> None:
    """Time a round of this leader and count its outliers; `outliers` is None if it failed."""
    _rounds.labels("failed" if outliers is None else "committed").inc()
    _round_latency.observe(seconds)
    _outliers.inc(outliers or 0)


def choose_content_type(accept: str) -> str:
    """Choose the content type in which a scraper that sends `accept` wants the series; there are a few."""
    return str(exposition.choose_encoder(accept)[1])


def render_page(accept: str) -> tuple[bytes, str]:
    """Write all series in that type, and name the type."""
    encode, content_type = exposition.choose_encoder(accept)
    return encode(registry), content_type
