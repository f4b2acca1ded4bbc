"""Means and their ratios over photographs, with 95 % percentile bootstrap intervals."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

RESAMPLES = 2000
SEED = 0

Key = tuple[str, str]
"""(row, figure)"""

_CHUNK = 50  # resamples at a time: 10 MB of counts with 25,000 photographs


class Estimate(TypedDict):
    """A figure and the ends of its 95 % interval, which is left out where none was computed."""

    value: float
    low: NotRequired[float]
    high: NotRequired[float]


class Bootstrap:
    """Resamples photographs, all their figures together, so that ratios and differences keep what is correlated.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. The seed is fixed: the same figures give
    the same intervals.
    """

    def __init__(
        self, figures: Mapping[Key, NDArray[np.float64]], strata: Sequence[NDArray[np.intp]] | None = None
    ) -> None:
        """`figures`: one array (N,) a figure, the same photographs in the same order in all of them.

        `strata`: the photographs of each stratum, such as a source. Every estimate is then the mean of the strata's
        own, each counting once, and photographs are drawn within their stratum. None: all are one stratum.
        """
        self._index = {key: index for index, key in enumerate(figures)}
        values = np.stack(list(figures.values()), axis=1)
        rng = np.random.default_rng(SEED)
        self._means = np.stack([_means(values[of], rng) for of in strata or [np.arange(len(values))]])

    def mean(self, key: Key) -> Estimate:
        """The mean of a figure over photographs."""
        return _estimate(self._column(key).mean(axis=0))

    def ratio(self, numerator: Key, denominator: Key) -> Estimate:
        """The mean of one figure over the mean of another, whose mean must not be 0 in any resample."""
        return _estimate((self._column(numerator) / self._column(denominator)).mean(axis=0))

    def _column(self, key: Key) -> NDArray[np.float64]:
        """(strata, 1 + resamples)"""
        column: NDArray[np.float64] = self._means[:, :, self._index[key]]
        return column


def quantile(values: NDArray[np.float64], share: float) -> Estimate:
    """Of one number a photograph, (N,), the quantile below which that share of them lies."""

    def statistic(resampled: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.quantile(resampled, share, axis=axis)
        return found

    if len(values) == 1:  # SciPy's takes no single number
        return {"value": float(values[0]), "low": float(values[0]), "high": float(values[0])}
    interval = bootstrap(
        (values,), statistic, n_resamples=RESAMPLES, batch=_CHUNK, method="percentile", rng=np.random.default_rng(SEED)
    ).confidence_interval
    return {"value": float(np.quantile(values, share)), "low": float(interval.low), "high": float(interval.high)}


def _means(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Of figures (N, figures): the set's own means, then those of the resamples, (1 + resamples, figures)."""
    photos = len(values)
    means = [values.mean(axis=0, keepdims=True)]
    for start in range(0, RESAMPLES, _CHUNK):
        size = min(_CHUNK, RESAMPLES - start)
        # How often each photograph was drawn says all of a resample, and means become one matrix product.
        counts = np.stack([np.bincount(rng.integers(photos, size=photos), minlength=photos) for _ in range(size)])
        means.append(counts @ values / photos)
    return np.concatenate(means)


def _estimate(statistics: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(statistics[1:], (2.5, 97.5))
    return {"value": float(statistics[0]), "low": float(low), "high": float(high)}
