import numpy as np
import pytest
from scipy.stats import bootstrap

from training.bootstrap import Bootstrap

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
