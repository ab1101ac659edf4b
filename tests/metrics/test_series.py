"""The series: a help that tells when to worry, and the formats that a scraper asks for."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def test_every_series_of_ours_says_what_is_alarming(page: Callable[[], str]) -> None:
    helps = [line for line in page().splitlines() if line.startswith("# HELP ccn_")]
    assert len(helps) > 20
    assert [line for line in helps if "Alarming: " not in line] == []


def test_the_process_is_measured_too(page: Callable[[], str]) -> None:
    assert "process_resident_memory_bytes" in page()
    assert "python_gc_collections_total" in page()


def test_a_scraper_gets_the_format_that_it_asks_for() -> None:
    text, content_type = metrics.series.render_page(OPEN_METRICS)
    assert content_type == metrics.series.choose_content_type(OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert metrics.series.choose_content_type("image/png").startswith("text/plain")


def test_no_series_names_a_person_or_a_conversation(page: Callable[[], str]) -> None:
    """The label `conversation` holds a keyed hash, which `core.series_names` makes."""
    labels = {
        name
        for family in metrics.series.registry.collect()
        for each in family.samples
        for name in each.labels
    }
    assert not labels & {"user", "account", "owner", "email", "address", "session_id", "content"}
