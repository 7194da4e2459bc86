"""The statistics against published tables, textbook values and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.evaluation import statistics as stats
from limner.evaluation.arms import Arm
from limner.evaluation.table import Table, holm_of_pairs

TABLE = [  # n, hits, exact one-sided lower
    (20, 20, 0.861),
    (20, 19, 0.784),
    (40, 36, 0.786),
    (60, 54, 0.812),
    (100, 95, 0.898),
    (200, 190, 0.917),
]


@pytest.mark.parametrize(("n", "hits", "lower"), TABLE)
def test_exact_bounds_agree_with_the_table(n: int, hits: int, lower: float) -> None:
    assert stats.exact_lower(hits, n) == pytest.approx(lower, abs=6e-4)


def test_textbook_values() -> None:
    assert stats.clopper_pearson(54, 60).as_list() == pytest.approx([0.7949, 0.9624], abs=1e-4)
    assert stats.clopper_pearson(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300), abs=1e-12)
    assert stats.exact_upper(0, 300) < 0.01  # rule of three
    assert stats.clopper_pearson(0, 0).as_list() == [0.0, 1.0]
    for misses, n in enumerate((29, 46, 61, 76)):  # least n that show 90 % with so many misses
        assert stats.exact_lower(n - misses, n) >= 0.9 > stats.exact_lower(n - 1 - misses, n - 1)
    assert stats.mcnemar_exact(1, 9) == pytest.approx(22 / 1024)
    assert stats.mcnemar_exact(0, 0) == 1.0
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.t_quantile(0.95, 11) == pytest.approx(2.200985, abs=1e-5)
    assert stats.t_two_sided(2.200985, 11) == pytest.approx(0.05, abs=1e-6)
    assert stats.pictures_to_decide(0.05, 0.04) == 13 and stats.pictures_to_decide(1, 0) is None
    with pytest.raises(ValueError, match="5 of 4"):
        stats.clopper_pearson(5, 4)


@given(st.integers(1, 400), st.data())
@settings(max_examples=40, deadline=None)
def test_exact_interval_solves_its_equations(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    interval = stats.clopper_pearson(hits, n)
    assert 0 <= interval.low <= hits / n <= interval.high <= 1

    def upper_tail(p: float) -> float:
        terms = (
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(p)
            + (n - k) * math.log1p(-p)
            for k in range(hits, n + 1)
        )
        return math.fsum(math.exp(t) for t in terms)

    if hits > 0:
        assert upper_tail(interval.low) == pytest.approx(0.025, rel=1e-6)
    mirror = stats.clopper_pearson(n - hits, n)
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-9)


def _clusters(rng: np.random.Generator, k: int, m: int, shift: float) -> dict[str, list[float]]:
    # skewed like cosine differences: a prompt effect, a picture effect, some lost faces
    lost = rng.random((k, m)) < 0.1
    values = shift + rng.normal(0, 0.05, (k, 1)) + rng.normal(0, 0.08, (k, m))
    values = np.where(lost, values - 0.2 * rng.choice([-1, 1], (k, m)), values)
    return {f"p{i}": list(map(float, row)) for i, row in enumerate(values)}


def _coverage(repetitions: int, k: int, m: int, draws: int) -> tuple[float, float]:
    rng = np.random.default_rng(7)
    covered = better = 0
    for _ in range(repetitions):
        found = stats.paired(_clusters(rng, k, m, 0.0), draws=draws).interval
        covered += found.low <= 0.0 <= found.high
        better += found.low > 0.0
    return covered / repetitions, better / repetitions


@pytest.mark.parametrize(("k", "m"), [(6, 1), (12, 2)])
def test_nominal_95_covers_and_rarely_says_better(k: int, m: int) -> None:
    covered, better = _coverage(500, k, m, draws=1000)
    assert covered >= 0.93 and better <= 0.05


@pytest.mark.long
@pytest.mark.parametrize(("k", "m"), [(4, 1), (6, 2), (9, 2), (10, 1), (12, 2), (20, 3), (40, 2)])
def test_nominal_95_covers_over_many_repetitions(k: int, m: int) -> None:
    covered, better = _coverage(6000, k, m, draws=2000)
    assert covered >= 0.94 and better <= 0.05


def test_paired_sees_a_difference_that_unpaired_scores_hide() -> None:
    rng = np.random.default_rng(1)
    prompt = rng.normal(0.5, 0.3, 12)  # prompts differ far more than the arms do
    first = prompt + rng.normal(0.05, 0.02, 12)
    found = stats.paired({str(i): [float(d)] for i, d in enumerate(first - prompt)})
    assert found.interval.low > 0.0 and found.p < 0.001
    assert stats.paired({"a": [0.1, 0.2]}).interval.high == math.inf  # one prompt proves nothing
    again = stats.paired({str(i): [float(d)] for i, d in enumerate(first - prompt)})
    assert again == found


@given(st.lists(st.floats(-40, 40), min_size=1, max_size=6), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_many_t_values_at_once_are_those_of_one(values: list[float], df: int) -> None:
    found = stats.t_two_sided_many(np.array(values), df)
    assert found == pytest.approx([stats.t_two_sided(v, df) for v in values], abs=1e-7)


@given(st.integers(2, 5), st.integers(1, 6), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_all_pairs_at_once_are_the_pairs_one_by_one(
    arms: int, prompts: int, seeds: int, seed: int
) -> None:
    score = np.random.default_rng(seed).normal(0.5, 0.1, (arms, prompts * seeds))
    score[-1] = score[0]  # a copy
    cluster = np.repeat(np.arange(prompts), seeds)
    blank = np.zeros(score.shape, dtype=bool)
    names = tuple(Arm(k, 1.0) for k in range(arms))
    found = Table(names, cluster, score, blank, blank).pairs
    for i in range(arms):
        for j in range(i):
            gaps = {str(p): list(score[i, cluster == p] - score[j, cluster == p])
                    for p in range(prompts)}  # fmt: skip
            one = stats.paired(gaps, draws=0)
            assert found.mean[i, j] == pytest.approx(one.mean, abs=1e-12)
            assert found.p[i, j] == pytest.approx(one.p, abs=1e-6)
    assert found.p[0, -1] == 1.0
    holm = holm_of_pairs(found.p)
    flat = [float(found.p[i, j]) for i in range(arms) for j in range(i + 1, arms)]
    assert [float(holm[i, j]) for i in range(arms) for j in range(i + 1, arms)] == pytest.approx(
        stats.holm(flat)
    )
