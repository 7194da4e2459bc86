"""What pre-training asks about the person: it must read latents as diffusers packs them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scripts.miniature import identity

LABELS = {
    "face_visible": True,
    "face_box": [30, 30, 90, 100],
    "yaw": 10.0,
    "points": [[48.0, 60.0, 0.0], [72.0, 60.0, 0.0], [60.0, 85.0, 0.0]],
}


def test_latents_are_unpacked_as_the_pipelines_pack_them() -> None:
    from limner.models import runtime

    runtime.prepare()
    from diffusers import QwenImageEditPlusPipeline

    latents = torch.randn(2, 16, 16, 16)
    packed = QwenImageEditPlusPipeline._pack_latents(latents, 2, 16, 16, 16)
    assert torch.equal(identity.unpack(packed), latents)


def test_a_face_that_tells_nobody_is_not_asked_about() -> None:
    assert identity.window(LABELS) is not None
    for hidden in ({"face_visible": False}, {"yaw": 80.0}, {"face_box": [60, 60, 70, 75]}):
        assert identity.window({**LABELS, **hidden}) is None


def test_the_cut_holds_the_face_and_follows_it() -> None:
    """A bright spot between the eyes stays in the middle of the cut wherever the face is."""
    for shift in (0, 32):
        latents = torch.zeros(1, 16, 16, 16)
        x, y = (60 + shift) / 8, 64 / 8
        latents[0, :, round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 1
        labels = {**LABELS, "points": [[px + shift, py, pz] for px, py, pz in LABELS["points"]]}
        found = identity.window(labels)
        assert found is not None
        packed = latents.view(1, 16, 8, 2, 8, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 64, 64)
        seen = identity.cut(packed, torch.from_numpy(found)[None])[0, 0]
        assert seen.shape == (identity.SIDE, identity.SIDE)
        column = float((seen.sum(0) * torch.arange(identity.SIDE)).sum() / seen.sum())
        assert column == pytest.approx((identity.SIDE - 1) / 2, abs=1.0)


def test_no_face_costs_nothing_and_the_right_one_less_than_a_strangers() -> None:
    likeness = object.__new__(identity.Likeness)
    torch.manual_seed(0)
    likeness.reader = identity.Reader().eval().requires_grad_(False)
    goal, other = torch.randn(2, 1, 64, 64)
    found = identity.window(LABELS)
    assert found is not None
    likeness.mean = likeness.reader(
        torch.cat([identity.cut(x, torch.from_numpy(found)[None]) for x in (goal, other)])
    )
    likeness.place = {7: 0, 8: 1}
    rows = [{"labels": LABELS, "person": 7}]

    def cost(made: torch.Tensor, told: bool, row: list[dict[str, object]] = rows) -> float:
        made = made.clone().requires_grad_()
        found = likeness(made, torch.tensor([0.5]), goal=goal, rows=row, told=told)
        found.backward()
        assert made.grad is not None and np.isfinite(made.grad.numpy()).all()
        return float(found.detach())

    assert cost(goal, told=False) == pytest.approx(0, abs=1e-6)
    assert cost(other, told=False) > 0.01
    assert cost(goal, told=True) < cost(other, told=True)
    hidden = [{"labels": {**LABELS, "face_visible": False}, "person": 7}]
    assert cost(other, told=True, row=hidden) == 0
    assert cost(other, told=True, row=[{"labels": LABELS, "person": 99}]) == 0
