"""The series: bounded labels, and a help that tells when to worry."""

from __future__ import annotations

import ccn
from ccn import metrics


def page() -> str:
    return metrics.render_page("")[0].decode()


def test_every_series_of_ours_says_what_is_alarming() -> None:
    helps = [line for line in page().splitlines() if line.startswith("# HELP ccn_")]
    assert len(helps) >= 4
    assert [line for line in helps if "Alarming: " not in line] == []


def test_a_request_is_counted_and_timed() -> None:
    metrics.count_answer("GET", "/test/{of}/metrics", 200, 0.15)
    assert 'ccn_http_requests_total{method="GET",route="/test/{of}/metrics",status="200"} 1.0' in page()
    timed = 'ccn_http_request_duration_seconds_bucket{le="%s",method="GET",route="/test/{of}/metrics"} %s'
    assert timed % ("0.1", "0.0") in page()
    assert timed % ("0.2", "1.0") in page()


def test_methods_that_nobody_knows_share_one_label() -> None:
    for method in ("BREW", "PROPFIND", "x" * 1000):
        metrics.count_answer(method, "/test/methods", 405, 0.0)
    assert 'ccn_http_requests_total{method="other",route="/test/methods",status="405"} 3.0' in page()
    assert "PROPFIND" not in page()


def test_readiness_and_build_are_told() -> None:
    metrics.set_check("test", passes=True)
    assert 'ccn_ready{check="test"} 1.0' in page()
    metrics.set_check("test", passes=False)
    assert 'ccn_ready{check="test"} 0.0' in page()
    metrics.set_build("node-7", ccn.__version__)
    assert f'ccn_build_info{{node="node-7",version="{ccn.__version__}"}} 1.0' in page()


def test_the_process_is_measured_too() -> None:
    assert "process_resident_memory_bytes" in page()
    assert "python_gc_collections_total" in page()


def test_of_many_conversations_the_most_recently_active_hundred_are_shown() -> None:
    for nth in range(150):
        metrics.set_measures(f"many-{nth}", {"phi": 0.5, "ccc": None, "trust": 0.5})
    metrics.set_measures("many-60", {"phi": 0.75})
    metrics.set_measures("many-150", {"phi": 0.5})
    shown = [line for line in page().splitlines() if line.startswith("consciousness_phi_score{")]
    assert len(shown) == 100
    assert 'consciousness_phi_score{conversation="many-60"} 0.75' in shown
    assert 'consciousness_phi_score{conversation="many-50"} 0.5' not in shown
    assert 'consciousness_ccc_score{conversation="many' not in page(), "not estimable has no series"
    metrics.retain_measures({"many-60"})
    assert page().count('{conversation="many-') == 1, "the trust of it was not estimable the last time"


def test_rounds_are_counted_by_outcome_with_their_outliers() -> None:
    def value(series: str) -> float:
        return next(
            float(line.split()[-1]) for line in page().splitlines() if line.startswith(f"{series} ")
        )

    before = value("ccn_outlier_instances_total")
    metrics.observe_round(0.02, 3)
    metrics.observe_round(5.0, None)
    assert value("ccn_outlier_instances_total") == before + 3
    assert value('ccn_consensus_rounds_total{outcome="failed"}') >= 1
    assert value('ccn_consensus_rounds_total{outcome="committed"}') >= 1
    assert value("ccn_consensus_latency_seconds_count") >= 2
