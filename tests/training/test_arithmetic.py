"""The plan's arithmetic and the order of data hold for any counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import InputError, UsageError
from limner.training import arithmetic, flow
from limner.training.data import EVEN_FROM, SIDE, bucket_size
from limner.training.order import Bucket, schedule
from limner.training.rules import RULES, rules


@given(st.integers(1, 5000), st.integers(1, 100))
def test_checkpoints_are_distinct_evenly_spaced_and_end_with_the_run(
    steps: int, count: int
) -> None:
    if steps < count:
        with pytest.raises(UsageError, match="cannot hold"):
            arithmetic.checkpoint_marks(steps, count)
        return
    marks = arithmetic.checkpoint_marks(steps, count)
    points = [m.step for m in marks]
    assert len(set(points)) == count and points == sorted(points) and points[-1] == steps
    gaps = [b - a for a, b in zip([0, *points], points, strict=False)]
    assert max(gaps) - min(gaps) <= 1 + (count > 1)
    assert points[0] >= 1


def test_the_guides_run_is_read_as_its_own_checkpoints_say() -> None:
    marks = arithmetic.checkpoint_marks(3400, 10)
    assert [m.step for m in marks] == list(range(340, 3401, 340))
    assert marks[6].label == "epoch 7 of 10"
    reading = arithmetic.guide_readings(70, 40, passes=8 * 300)
    assert (reading["images_times_repeats"], reading["read_as_ten_epochs"]) == (2800, 28000)
    assert reading["planned_passes"] == 2400
    counted = arithmetic.counts(40, batch=8, steps=300)
    assert (counted.image_passes, counted.turns) == (2400, 60)


def test_a_plan_that_would_delete_its_checkpoints_is_refused() -> None:
    arithmetic.refuse_pruning(10, keep=0)
    arithmetic.refuse_pruning(10, keep=10)
    with pytest.raises(UsageError, match="delete the first 5"):
        arithmetic.refuse_pruning(10, keep=5)


def test_the_memory_model_fits_the_published_figures_of_the_real_model() -> None:
    def activations(tokens: int) -> float:
        shape = arithmetic.Shape(60, 3072, 1, tokens, 0, 0, 0, 2)
        return arithmetic.memory_estimate(shape, RULES["activations_per_token"].value)[
            "activations"
        ]

    assert activations(4352) / 1e9 == pytest.approx(35, rel=0.02)
    assert activations(8522) / 1e9 == pytest.approx(69, rel=0.02)
    linears = [(3072, 3072)] * 8 + [(12288, 3072), (3072, 12288)] * 2
    assert arithmetic.lora_parameters(linears * 60, 1) == pytest.approx(6.64e6, rel=0.001)


sizes = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@settings(deadline=None)
@given(sizes, st.integers(1, 9), st.integers(1, 80), st.integers(0, 5))
def test_every_picture_gets_its_share_and_batches_never_mix_sizes(
    counts: list[int], batch: int, steps: int, seed: int
) -> None:
    buckets, start = [], 0
    for number, count in enumerate(counts):
        buckets.append(Bucket(16 * (number + 1), 16, tuple(range(start, start + count))))
        start += count
    rows = schedule(buckets, batch, steps, seed)
    assert rows == schedule(buckets, batch, steps, seed)
    assert rows[: steps // 2] == schedule(buckets, batch, steps // 2, seed), "a prefix stays"
    homes = {i: b for b in buckets for i in b.items}
    seen: Counter[int] = Counter()
    for row in rows:
        assert len(row) == batch and len({homes[i] for i in row}) == 1
        seen.update(row)
    for bucket in buckets:
        passes = [seen[i] for i in bucket.items]
        assert max(passes) - min(passes) <= 1
        share = steps * len(bucket.items) / start
        assert abs(sum(passes) / batch - share) <= len(buckets)
    if steps > 3 and start > 8:
        assert rows != schedule(buckets, batch, steps, seed + 1)


@given(st.integers(16, 4000), st.integers(16, 4000), st.sampled_from([64, 128, 1024]))
def test_pictures_are_never_enlarged_beyond_a_token(width: int, height: int, side: int) -> None:
    w, h = bucket_size(width, height, side)
    assert w % SIDE == h % SIDE == 0 and w >= SIDE and h >= SIDE
    unit = 2 * SIDE if side >= EVEN_FROM else SIDE  # even token counts for the real model
    assert w <= max(width, unit) + unit / 2 and h <= max(height, unit) + unit / 2
    assert bucket_size(side * 3, side * 3, side) == (side, side)


def test_noise_levels_are_logit_normal_shifted_as_the_sampler_shifts() -> None:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = {"base_image_seq_len": 256, "max_image_seq_len": 8192}
    assert flow.time_shift_mu(4096, config) == pytest.approx(0.694, abs=1e-3)
    mu = flow.time_shift_mu(64, config)
    normal = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    ours = flow.sample_sigmas(normal, mu)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    theirs = scheduler.time_shift(mu, 1.0, normal.sigmoid())
    assert torch.allclose(ours, theirs, atol=1e-6)
    levels = flow.quantile_sigmas(8, mu)
    assert levels == sorted(levels) and 0 < levels[0] < levels[-1] < 1
    below = [(ours < level).float().mean().item() for level in levels]
    assert below == pytest.approx([(i + 0.5) / 8 for i in range(8)], abs=0.04)
    x, noise = torch.randn(2, 4, 64), torch.randn(2, 4, 64)
    sigmas = torch.tensor([0.0, 1.0])
    mixed = flow.interpolate(x, noise, sigmas)
    assert torch.equal(mixed[0], x[0]) and torch.equal(mixed[1], noise[1])
    assert flow.flow_loss(noise - x, x, noise).tolist() == [0, 0]


def test_a_users_own_value_replaces_ours_and_a_wrong_name_is_an_error() -> None:
    assert rules({"max_grad_norm": 0.5})["max_grad_norm"] == 0.5
    with pytest.raises(InputError, match="has no value called"):
        rules({"max_grad": 0.5})


def test_the_manual_lists_every_value() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    for name, rule in RULES.items():
        row = f"| `{name}` | {rule.value:g} | {rule.tag} | {rule.meaning} | {rule.source} |"
        assert row in manual, f"docs/training.md lacks: {row}"
