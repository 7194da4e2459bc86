"""Stage 1: the autoencoder. In: drawings as uint8 shards. Out: vae/ in the work folder, PSNR.

Random 64 px crops (the network is convolutional), Muon on the kernels, AdamW on the rest, the
single-frame forward compiled. Stops by minutes, resumes from `vae_state.pt` (tensors only).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner.models import miniature
from limner.models.base import use_single_frame_convolutions
from scripts.miniature.muon import Muon

CROP = 64
BATCH = 16
MUON_LR = 0.02
ADAM_LR = 2.5e-3
KL_WEIGHT = 2e-5


def forward(vae: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x (B, 3, 1, H, W) in -1..1 -> reconstruction (not clamped), mean, logvar of the posterior."""
    mean, logvar = vae.quant_conv(vae.encoder(x)).chunk(2, dim=1)
    logvar = logvar.clamp(-30, 20)
    z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
    return vae.decoder(vae.post_quant_conv(z)), mean, logvar


def batch_of(pool: np.ndarray, rng: np.random.Generator, size: int, crop: int) -> torch.Tensor:
    """Random crops of random pictures of `pool` (N, H, W, 3), mirrored half of the time."""
    side = pool.shape[1]
    out = np.empty((size, crop, crop, 3), np.uint8)
    for k, index in enumerate(rng.integers(0, len(pool), size)):
        # faces stand in the upper middle: half of the crops look there
        if rng.random() < 0.5 and side > crop:
            y, x = rng.integers(0, (side - crop) // 2 + 1), rng.integers(0, side - crop + 1)
        else:
            y, x = rng.integers(0, side - crop + 1, 2)
        patch = pool[index, y : y + crop, x : x + crop]
        out[k] = patch[:, ::-1] if rng.random() < 0.5 else patch
    return torch.from_numpy(out).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).unsqueeze(2)


def psnr(vae: Any, pictures: np.ndarray) -> float:
    """Mean over pictures of the PSNR in dB (peak 255) of decode(mode of encode)."""
    values = []
    with torch.no_grad():
        for start in range(0, len(pictures), 20):
            x = torch.from_numpy(pictures[start : start + 20]).permute(0, 3, 1, 2).float()
            y = vae.decode(vae.encode((x / 127.5 - 1).unsqueeze(2)).latent_dist.mode()).sample
            mse = ((y[:, :, 0] - (x / 127.5 - 1)) ** 2).mean(dim=(1, 2, 3)) / 4
            values += (-10 * torch.log10(mse)).tolist()
    return float(np.mean(values))


def train(work: Path, pool: np.ndarray, held_out: np.ndarray, minutes: float, final: bool) -> None:
    """Train for `minutes` of wall time; `final` lowers the rate to zero towards the end."""
    torch.manual_seed(int(time.time()) % 2**31)
    rng = np.random.default_rng()
    vae = miniature.build_vae()
    use_single_frame_convolutions(vae)
    state_file = work / "vae_state.pt"
    kernels = [
        p
        for n, p in vae.named_parameters()
        if p.dim() >= 4 and min(p.shape[:2]) > 3 and "time_conv" not in n
    ]
    ids = {id(p) for p in kernels}
    others = [p for p in vae.parameters() if id(p) not in ids]
    adam = torch.optim.AdamW(others, ADAM_LR, betas=(0.9, 0.99), weight_decay=0)
    muon = Muon(kernels, MUON_LR)
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        vae.load_state_dict(state["vae"])
        adam.load_state_dict(state["adam"])
        muon.load_state_dict(state["muon"])
        step = state["step"]
    run = torch.compile(lambda x: forward(vae, x), dynamic=False)
    start, seen = time.monotonic(), []
    last_save = start
    while (elapsed := time.monotonic() - start) < minutes * 60:
        share = elapsed / (minutes * 60)
        decay = max(0.02, min(1.0, (1 - share) / 0.6)) if final else 1.0
        rate = min(1.0, (step + 1) / 60) * decay
        for optimizer, base in ((adam, ADAM_LR), (muon, MUON_LR)):
            for group in optimizer.param_groups:
                group["lr"] = base * rate
        x = batch_of(pool, rng, BATCH, CROP)
        with torch.autocast("cpu", torch.bfloat16):
            y, mean, logvar = run(x)
        error = y.float() - x
        kl = 0.5 * (mean.float() ** 2 + logvar.float().exp() - 1 - logvar.float()).mean()
        loss = error.abs().mean() + 1.5 * (error**2).mean() + KL_WEIGHT * kl
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in (adam, muon):
            optimizer.step()
        vae.zero_grad(set_to_none=True)
        step += 1
        seen.append((error**2).mean().item())
        if step % 100 == 0:
            db = -10 * np.log10(np.mean(seen[-100:]) / 4)
            print(f"vae {step} {elapsed:.0f}s psnr(train) {db:.2f} kl {kl.item():.2f}", flush=True)
        if time.monotonic() - last_save > 120:
            last_save = time.monotonic()
            save(work, vae, adam, muon, step)
    save(work, vae, adam, muon, step)
    finish(work, vae, pool, held_out)


def save(work: Path, vae: Any, adam: Any, muon: Any, step: int) -> None:
    """The resumable state, written whole."""
    state = {
        "vae": vae.state_dict(),
        "adam": adam.state_dict(),
        "muon": muon.state_dict(),
        "step": step,
    }
    torch.save(state, work / "vae_state.tmp")
    (work / "vae_state.tmp").replace(work / "vae_state.pt")


def finish(work: Path, vae: Any, pool: np.ndarray, held_out: np.ndarray) -> None:
    """Measure, store the latents' mean and spread in the config, write vae/."""
    vae.eval()
    with torch.no_grad():
        z = []
        for start in range(0, min(400, len(pool)), 20):
            x = torch.from_numpy(pool[start : start + 20]).permute(0, 3, 1, 2).float() / 127.5 - 1
            z.append(vae.encode(x.unsqueeze(2)).latent_dist.mode())
        latents = torch.cat(z)
    vae.register_to_config(
        latents_mean=[round(v, 5) for v in latents.mean((0, 2, 3, 4)).tolist()],
        latents_std=[round(v, 5) for v in latents.std((0, 2, 3, 4)).tolist()],
    )
    vae.save_pretrained(work / "vae")
    result = {"psnr_db": round(psnr(vae, held_out), 2), "pictures": len(held_out)}
    (work / "vae" / "measured.json").write_text(json.dumps(result))
    print("vae", result, flush=True)
