"""The series: bounded labels, and a help that tells when to worry."""

from __future__ import annotations

import ccn
from ccn import metrics


def page() -> str:
    return metrics.page("")[0].decode()


def test_every_series_of_ours_says_what_is_alarming() -> None:
    helps = [line for line in page().splitlines() if line.startswith("# HELP ccn_")]
    assert len(helps) >= 4
    assert [line for line in helps if "Alarming: " not in line] == []


def test_a_request_is_counted_and_timed() -> None:
    metrics.answered("GET", "/test/{of}/metrics", 200, 0.15)
    assert 'ccn_http_requests_total{method="GET",route="/test/{of}/metrics",status="200"} 1.0' in page()
    timed = 'ccn_http_request_duration_seconds_bucket{le="%s",method="GET",route="/test/{of}/metrics"} %s'
    assert timed % ("0.1", "0.0") in page()
    assert timed % ("0.2", "1.0") in page()


def test_methods_that_nobody_knows_share_one_label() -> None:
    for method in ("BREW", "PROPFIND", "x" * 1000):
        metrics.answered(method, "/test/methods", 405, 0.0)
    assert 'ccn_http_requests_total{method="other",route="/test/methods",status="405"} 3.0' in page()
    assert "PROPFIND" not in page()


def test_readiness_and_build_are_told() -> None:
    metrics.checked("test", passes=True)
    assert 'ccn_ready{check="test"} 1.0' in page()
    metrics.checked("test", passes=False)
    assert 'ccn_ready{check="test"} 0.0' in page()
    metrics.built("node-7", ccn.__version__)
    assert f'ccn_build_info{{node="node-7",version="{ccn.__version__}"}} 1.0' in page()


def test_the_process_is_measured_too() -> None:
    assert "process_resident_memory_bytes" in page()
    assert "python_gc_collections_total" in page()
