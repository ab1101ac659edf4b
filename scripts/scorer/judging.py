"""How well scores tell the shown from the not shown: areas, rank correlations, and windows that agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

_ALIKE = 1.25  # lengths within this factor count as equal
_PAIRS = 20
_DRAWS = 20  # of a window of each trait and pole


def area(scores: Floats, shown: Booleans) -> float:
    """Return the AUC: how often a shown one scores higher than one that is not; NaN without both."""
    return _share_higher(scores[shown][:, None] - scores[~shown][None, :])


def area_of_equal_length(scores: Floats, shown: Booleans, lengths: Floats) -> float:
    """Return the AUC over pairs of about the same length only; NaN where there are hardly any."""
    apart = np.abs(np.log(lengths[shown])[:, None] - np.log(lengths[~shown])[None, :])
    differences = (scores[shown][:, None] - scores[~shown][None, :])[apart <= np.log(_ALIKE)]
    return _share_higher(differences) if differences.size >= _PAIRS else float("nan")


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def reliability(groups: Sequence[Floats], window: int) -> float:
    """Return the share of the variance of window means between sources: 1 if windows of a source agree."""
    means = [
        group[: len(group) // window * window].reshape(-1, window, group.shape[1]).mean(axis=1)
        for group in groups
        if len(group) >= 2 * window
    ]
    within = np.mean([each.var(axis=0, ddof=1) for each in means], axis=0)
    between = np.var([each.mean(axis=0) for each in means], axis=0, ddof=1)
    share = 1 - within / np.maximum(between + within, 1e-12)
    return float(share.mean())


def strangers(groups: Sequence[tuple[str, Floats]], window: int) -> float:
    """Return the mean squared distance, over the axes, between windows of different sources.

    Two sources of one name are opposites rather than strangers, so they are not compared.
    """
    means = [(name, group[:window].mean(axis=0)) for name, group in groups if len(group) >= window]
    distances = [
        ((here - there) ** 2).mean()
        for at, (name, here) in enumerate(means)
        for other, there in means[:at]
        if name != other
    ]
    return float(np.mean(distances))


def strangers_of(by_source: Mapping[tuple[str, bool], Sequence[Floats]], window: int) -> float:
    """Return the same for the messages of each trait and pole: the mean over windows drawn at random.

    It is 0 if no two of them have messages enough: then nothing is known of strangers.
    """
    draw = np.random.default_rng(3)
    groups = [(task, np.array(rows)) for (task, _), rows in by_source.items() if len(rows) >= window]
    if len({task for task, _ in groups}) < 2:
        return 0.0
    drawn = (
        strangers([(task, draw.permutation(rows)) for task, rows in groups], window) for _ in range(_DRAWS)
    )
    return float(np.mean(list(drawn)))


def _share_higher(differences: Floats) -> float:
    if not differences.size:
        return float("nan")
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray(((ends - counts + ends + 1) / 2)[inverse])
