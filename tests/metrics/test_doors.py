"""What is counted at the ways in: bounded labels, whatever strangers send."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_a_request_is_counted_and_timed(value: Callable[[str], float | None]) -> None:
    metrics.doors.count_answer("GET", "/test/{of}/metrics", 200, 0.15)
    route = 'method="GET",route="/test/{of}/metrics"'
    assert value(f'ccn_http_requests_total{{{route},status="200"}}') == 1.0
    assert value(f'ccn_http_request_duration_seconds_bucket{{le="0.1",{route}}}') == 0.0
    assert value(f'ccn_http_request_duration_seconds_bucket{{le="0.2",{route}}}') == 1.0


def test_methods_that_nobody_knows_share_one_label(
    page: Callable[[], str], value: Callable[[str], float | None]
) -> None:
    for method in ("BREW", "PROPFIND", "x" * 1000):
        metrics.doors.count_answer(method, "/test/methods", 405, 0.0)
    assert value('ccn_http_requests_total{method="other",route="/test/methods",status="405"}') == 3.0
    assert "PROPFIND" not in page()


def test_a_socket_is_counted_while_it_is_open_also_if_it_ends_in_an_error(
    value: Callable[[str], float | None],
) -> None:
    before = value("ccn_websocket_connections_active") or 0.0
    try:
        with metrics.doors.count_open_socket():
            assert value("ccn_websocket_connections_active") == before + 1
            raise ConnectionResetError
    except ConnectionResetError:
        assert value("ccn_websocket_connections_active") == before


def test_sign_ins_are_counted_by_outcome(value: Callable[[str], float | None]) -> None:
    before = value('ccn_sign_ins_total{outcome="refused"}') or 0.0
    metrics.doors.count_sign_in(succeeded=False)
    metrics.doors.count_sign_in(succeeded=True)
    assert value('ccn_sign_ins_total{outcome="refused"}') == before + 1
    assert (value('ccn_sign_ins_total{outcome="accepted"}') or 0) >= 1


def test_whom_a_limit_turned_away_is_counted_by_door_and_reason(
    value: Callable[[str], float | None],
) -> None:
    series = 'ccn_connections_turned_away_total{door="test",reason="full"}'
    metrics.doors.count_turned_away("test", "full")
    metrics.doors.count_turned_away("test", "full", 3)
    assert value(series) == 4.0


def test_counting_without_redis_is_told(value: Callable[[str], float | None]) -> None:
    metrics.doors.set_limits_degraded(degraded=True)
    assert value("ccn_rate_limits_degraded") == 1.0
    metrics.doors.set_limits_degraded(degraded=False)
    assert value("ccn_rate_limits_degraded") == 0.0
