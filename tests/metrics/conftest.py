"""The page as a scraper reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ccn import metrics


@pytest.fixture
def page() -> Callable[[], str]:
    """All series as text, as they are when it is called."""

    def render_page() -> str:
        return metrics.series.render_page("")[0].decode()

    return render_page


@pytest.fixture
def value(page: Callable[[], str]) -> Callable[[str], float | None]:
    """The value of a series with its labels; None if there is no such series."""

    def find_value(series: str) -> float | None:
        found = [line for line in page().splitlines() if line.startswith(f"{series} ")]
        return float(found[0].rpartition(" ")[2]) if found else None

    return find_value
