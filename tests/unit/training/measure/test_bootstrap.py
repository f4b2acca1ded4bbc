import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from training.measure.bootstrap import Bootstrap, quantile

RNG = np.random.default_rng(1)
TRUTH = RNG.gamma(2, 10, 300)
FIGURES = {("model", "colour"): TRUTH * RNG.uniform(0.4, 0.6, 300), ("truth", "colour"): TRUTH}


def test_the_interval_of_a_mean_is_the_library_s() -> None:
    estimate = Bootstrap(FIGURES).mean(("truth", "colour"))
    expected = bootstrap((TRUTH,), np.mean, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert estimate["value"] == pytest.approx(TRUTH.mean())
    assert (estimate["low"], estimate["high"]) == pytest.approx((expected.low, expected.high), rel=0.01)


def test_a_ratio_resamples_both_together() -> None:
    estimate = Bootstrap(FIGURES).ratio(("model", "colour"), ("truth", "colour"))
    model = FIGURES["model", "colour"]
    assert estimate["value"] == pytest.approx(model.sum() / TRUTH.sum())
    # What varies between photographs is divided out: 0.5 ± 1.96 · 0.06 / √300 and a little, not ± 8 %.
    assert 0.01 < estimate["high"] - estimate["low"] < 0.025


def test_the_same_figures_have_the_same_interval() -> None:
    assert Bootstrap(FIGURES).mean(("truth", "colour")) == Bootstrap(FIGURES).mean(("truth", "colour"))


def test_strata_count_once_each() -> None:
    strata = [np.arange(200), np.arange(200, 300)]
    both = Bootstrap(FIGURES, strata)
    alone = [Bootstrap({key: values[of] for key, values in FIGURES.items()}) for of in strata]
    for estimate, parts in (
        (both.mean(("truth", "colour")), [one.mean(("truth", "colour")) for one in alone]),
        (
            both.ratio(("model", "colour"), ("truth", "colour")),
            [one.ratio(("model", "colour"), ("truth", "colour")) for one in alone],
        ),
    ):
        assert estimate["value"] == pytest.approx(np.mean([part["value"] for part in parts]))
        # Independent errors: their widths add in squares.
        widths = [part["high"] - part["low"] for part in parts]
        assert estimate["high"] - estimate["low"] == pytest.approx(math.hypot(*widths) / 2, rel=0.1)


def test_quantiles_lie_in_their_intervals() -> None:
    estimate = quantile(TRUTH, 0.9)
    assert estimate["value"] == pytest.approx(np.quantile(TRUTH, 0.9))
    assert estimate["low"] < estimate["value"] < estimate["high"]
    # A share of a sample falls below: 0.9 ± 1.96 · √(0.9 · 0.1 / 300).
    assert np.mean(estimate["low"] > TRUTH) == pytest.approx(0.866, abs=0.015)
    assert np.mean(estimate["high"] > TRUTH) == pytest.approx(0.934, abs=0.015)


def test_the_quantile_of_one_is_itself() -> None:
    assert quantile(np.array([3.0]), 0.1) == {"value": 3, "low": 3, "high": 3}
