"""Stage 4: what the miniature can do, on people and prompts it never saw. Out: measured.json."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from limner.models.base import Base, collate, open_base
from scripts.miniature import corpus, probes, text, vae
from scripts.miniature.transformer import shows_face

SAMPLES = 100
BATCH = 20


@torch.no_grad()
def sample(
    base: Base,
    embeds: list[torch.Tensor],
    empty: list[torch.Tensor],
    seed: int,
    references: torch.Tensor | None = None,
) -> np.ndarray:
    """Euler steps with guidance as diffusers' pipelines take them; pictures uint8 (B, H, W, 3)."""
    info = base.info
    size = (info.resolution, info.resolution)
    tokens = (info.resolution // 16) ** 2
    steps, scale = info.sampling_steps, info.true_cfg_scale
    config = base.scheduler.config
    slope = (config.max_shift - config.base_shift) / (
        config.max_image_seq_len - config.base_image_seq_len
    )
    mu = config.base_shift + slope * (tokens - config.base_image_seq_len)
    base.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    sigmas = base.scheduler.sigmas
    x = torch.randn(len(embeds), tokens, 64, generator=torch.Generator().manual_seed(seed))
    sizes = [] if references is None else [size]
    for k in range(steps):
        sigma = sigmas[k].expand(len(x))
        both = [
            base.velocity(x, sigma, *collate(e), size, references, sizes) for e in (embeds, empty)
        ]
        v = both[1] + scale * (both[0] - both[1])
        v = v * (both[0].norm(dim=-1, keepdim=True) / v.norm(dim=-1, keepdim=True))
        x = x + (sigmas[k + 1] - sigmas[k]) * v
    return base.decode(x, *size)


def rows_of(
    shards: Path, wanted: Any, newest_first: bool = True
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """(row, picture) of the people that `wanted` accepts."""
    found = []
    for file in sorted(corpus.shards(shards), reverse=newest_first):
        rows = json.loads(file.with_suffix(".json").read_text())["rows"]
        pictures = np.load(file, mmap_mode="r")
        found += [(r, np.array(pictures[k])) for k, r in enumerate(rows) if wanted(r["person"])]
        if len(found) > 3000:
            break
    return found


def fully_said(row: dict[str, Any], rng: random.Random) -> str:
    """A caption with every constant."""
    sex = "woman" if row["identity"]["sex"] == "female" else "man"
    said = text.say({**row, "identity": row["identity"]}, rng, "plain")
    head = ", ".join([f"a {sex}", *text.constants(row["identity"])])
    return head + said[said.index(", ") :] if ", " in said else head


def measure(work: Path, shards: Path, people: int) -> dict[str, Any]:
    """Follow the text, keep the reference, decode: each beside what the measuring tools miss."""
    base = open_base(str(work / "base"))
    last = int(corpus.shards(shards)[-1].stem.split("_")[1]) * corpus.PEOPLE_A_SHARD + 50
    first = min(people, last) - min(people, last) // 10
    probe = probes.train(work, shards, first, minutes=3)
    unseen = rows_of(shards, lambda p: p >= first)
    rng = random.Random("measure")
    rng.shuffle(unseen)
    facing = [u for u in unseen if u[0]["attributes"]["framing"] in ("close_up", "half_body")]
    result: dict[str, Any] = {"samples": SAMPLES}
    tested = np.stack([p for _, p in unseen[:SAMPLES]])
    result["vae_psnr_db"] = round(vae.psnr(base.vae, tested), 2)
    chosen = facing[:SAMPLES]
    said = [fully_said(row, rng) for row, _ in chosen]
    made = sampled(base, said)
    result["as_asked"] = agreement(probe, made, [r for r, _ in chosen])
    result["probe_on_drawings"] = agreement(
        probe, np.stack([p for _, p in unseen[:1000]]), [r for r, _ in unseen[:1000]]
    )
    sheet(work / "sample.png", [p for _, p in chosen], made, said)
    np.save(work / "measured_samples.npy", made)
    result["edit"] = edit_identity(work, base, unseen, rng)
    (work / "measured.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1), flush=True)
    return result


def sampled(base: Base, said: list[str]) -> np.ndarray:
    """One picture a text."""
    empty = base.encode_prompts([""])
    out = []
    for start in range(0, len(said), BATCH):
        embeds = base.encode_prompts(said[start : start + BATCH])
        out.append(sample(base, embeds, empty * len(embeds), seed=start))
    return np.concatenate(out)


def agreement(
    probe: probes.Probe, pictures: np.ndarray, rows: list[dict[str, Any]]
) -> dict[str, float]:
    """Share of pictures that read as their row says; hair only where it can be seen."""
    found = probes.read(probe, pictures)
    goals = [probes.targets(r) for r in rows]
    return {
        k: round(float(np.mean([found[k][n] == g[k] for n, g in enumerate(goals)])), 3)
        for k in found
    }


def edit_identity(work: Path, base: Base, unseen: list[Any], rng: random.Random) -> dict[str, Any]:
    """A reference alone must carry the person: its rank among 100, by two embedders."""
    by_person: dict[int, list[Any]] = {}
    for row, picture in unseen:
        if shows_face(row):
            by_person.setdefault(row["person"], []).append((row, picture))
    people = [p for p, found in by_person.items() if len(found) >= 2][:SAMPLES]
    references = [by_person[p][0] for p in people]
    goals = [by_person[p][1][0] for p in people]
    said = [text.say(row, rng, "plain").replace(text.NAME, "a person") for row in goals]
    made = []
    from scripts.miniature.transformer import encode_edit

    for start in range(0, len(said), BATCH):
        shown = [p for _, p in references[start : start + BATCH]]
        embeds = encode_edit(base, said[start : start + BATCH], shown)
        empty = encode_edit(base, [""] * len(shown), shown)
        latents = torch.stack(base.encode_images([Image.fromarray(p) for p in shown]))
        made.append(sample(base, embeds, empty, seed=start, references=latents))
    pictures = np.concatenate(made)
    sheet(work / "edit.png", [p for _, p in references], pictures, said)
    np.savez(work / "edit_pairs.npz", made=pictures, shown=np.stack([p for _, p in references]))
    from scripts.miniature import likeness

    return likeness.percentiles(pictures, np.stack([p for _, p in references]))


def sheet(file: Path, above: list[np.ndarray], below: np.ndarray, said: list[str]) -> None:
    """Drawing above, sample below, twelve columns; the texts go into a file beside."""
    columns, side = 12, 128
    rows = min(3, len(below) // columns)
    paper = Image.new("RGB", (columns * side, rows * side * 2))
    for n in range(rows * columns):
        x, y = n % columns * side, n // columns * side * 2
        paper.paste(Image.fromarray(above[n]), (x, y))
        paper.paste(Image.fromarray(below[n]), (x, y + side))
    paper.save(file)
    file.with_suffix(".txt").write_text("\n".join(said), encoding="utf-8")
