"""Stage 3: the transformer. In: shards, the trained autoencoder, the frozen text encoder.

Flow matching on packed latents, text to image and edit mode (a reference: another scene of the same
person). Muon on the matrices of the blocks, AdamW on the rest, an average of the weights for use.
Stops by minutes and resumes; the learning rate stays constant until a `final` run lets it fall.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from limner.models.base import Base, open_base
from limner.models.info import MINIATURE
from scripts.miniature import corpus, text
from scripts.miniature.muon import Muon

BATCH, EDIT_BATCH, PROMPT_BATCH = 32, 18, 22
SIZE = corpus.SIZE
ADAM_LR, MUON_LR = 1.5e-3, 0.012
EMPTY_SHARE = 0.08
"""Share of empty texts, for guidance; the usual 5 to 10 %."""
LENGTHS = (64, 80, 128)
"""Padded text lengths; each is compiled once, so they are few."""
FACE_WEIGHT = 3.0
"""Added weight of a token that a seen face fills: 16 px are a quarter of a face's width."""
EDIT_FACE_WEIGHT = 8.0
"""The same in edit mode, where the face is what the reference is there for."""
FRAMING_WEIGHT = {"close_up": 1.0, "half_body": 1.0, "cowboy": 0.7, "full_body": 0.4}
"""Chance of a drawing, by framing: a far face is four tokens at most and teaches little."""
EDIT_HIDDEN_FACE = 0.35
"""Chance, in edit mode, of a drawing whose face is far away or turned, beside one that shows it."""
LIKENESS_WEIGHT = 0.5
"""Of the person's likeness beside the flow loss."""
SHIFT, EDIT_SHIFT = 1.6, 2.4
"""Shift of the noise levels. Sampling uses 1.6 at this size; who it is, is settled early."""
KINDS = (*("caption", "edit") * 5, "prompt", "edit")


def real_rotation() -> None:
    """Let the rotary embedding run on real numbers: the same result, and it can be compiled."""
    import diffusers.models.transformers.transformer_qwenimage as module

    def apply(x: torch.Tensor, freqs: Any, use_real: bool = True, **_: Any) -> torch.Tensor:
        cos, sin = (f[None, :, None, :] for f in freqs)
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)

    module.apply_rotary_emb_qwen = apply


class Data:
    """Latents and rows of every finished shard; encodes new shards once."""

    def __init__(self, folder: Path, base: Base, held_out_people: int) -> None:
        self.folder, self.base = folder, base
        self.first_held_out = held_out_people
        self.latents: list[np.ndarray] = []
        self.pictures: list[np.ndarray] = []
        self.rows: list[dict[str, Any]] = []
        self.shares: list[float] = []
        self.weights: dict[str, list[np.ndarray]] = {"text": [], "edit": []}
        self.edit_shares: list[float] = []
        self.of_person: dict[int, list[int]] = {}
        self.loaded: set[str] = set()

    def refresh(self) -> int:
        """Take in new shards; returns the number of drawings that can be trained on."""
        for file in corpus.shards(self.folder):
            if file.name in self.loaded:
                continue
            self.loaded.add(file.name)
            pictures = np.load(file, mmap_mode="r")
            cache = file.with_name("latents_" + file.name)
            if not cache.exists():
                np.save(cache.with_suffix(".tmp.npy"), self._encode(pictures))
                cache.with_suffix(".tmp.npy").replace(cache)
            latents = np.load(cache)
            rows = json.loads(file.with_suffix(".json").read_text())["rows"]
            for k, row in enumerate(rows):
                if row["person"] >= self.first_held_out:
                    continue
                self.of_person.setdefault(row["person"], []).append(len(self.rows))
                self.rows.append(row)
                share = FRAMING_WEIGHT[row["attributes"]["framing"]]
                self.shares.append(share)
                self.edit_shares.append(share * (1.0 if shows_face(row) else EDIT_HIDDEN_FACE))
                self.weights["text"].append(token_weights(row["labels"], FACE_WEIGHT))
                self.weights["edit"].append(token_weights(row["labels"], EDIT_FACE_WEIGHT))
                self.latents.append(latents[k])
                self.pictures.append(pictures[k])
        return len(self.rows)

    def _encode(self, pictures: np.ndarray) -> np.ndarray:
        found = self.base.encode_images([Image.fromarray(p) for p in pictures])
        return torch.stack(found).numpy().astype(np.float16)

    def batch(self, kind: str, rng: random.Random) -> tuple[list[int], list[int], list[str]]:
        """Indices, indices of references (edit only) and texts of a batch."""
        size = {"edit": EDIT_BATCH, "prompt": PROMPT_BATCH}.get(kind, BATCH)
        chosen, said = self._of_like_length(kind, size, rng)
        references = []
        if kind == "edit":
            for index in chosen:
                row = self.rows[index]
                others = [
                    i
                    for i in self.of_person[row["person"]]
                    if self.rows[i]["scene"] != row["scene"] and shows_face(self.rows[i])
                ]
                references.append(rng.choice(others or self.of_person[row["person"]]))
        return chosen, references, said

    def _of_like_length(
        self, kind: str, size: int, rng: random.Random
    ) -> tuple[list[int], list[str]]:
        """Out of three times as many, neighbours in length, so that little padding is computed."""
        shares = self.edit_shares if kind == "edit" else self.shares
        many = rng.choices(range(len(self.rows)), shares, k=3 * size)
        texts = [text.say(self.rows[i], rng, kind) for i in many]
        lengths = [len(ids) for ids in self.base.tokenizer(texts).input_ids]
        order = sorted(range(len(many)), key=lengths.__getitem__)
        start = rng.randrange(2 * size + 1)
        taken = order[start : start + size]
        said = ["" if rng.random() < EMPTY_SHARE else texts[k] for k in taken]
        return [many[k] for k in taken], said

    def stack(self, indices: list[int]) -> torch.Tensor:
        """Latents (B, 64, 64) as float32."""
        return torch.from_numpy(np.stack([self.latents[i] for i in indices]).astype(np.float32))


def token_weights(labels: dict[str, Any], face: float) -> np.ndarray:
    """Weight (64,) of every 16 px token in the loss, mean 1: a seen face counts `face` more."""
    side = SIZE // 16
    weights = np.ones((side, side), np.float32)
    if labels["face_visible"] and labels["face_box"]:
        left, top, right, bottom = (v / 16 for v in labels["face_box"])
        edges = np.arange(side)
        across = np.clip(np.minimum(right, edges + 1) - np.maximum(left, edges), 0, 1)
        down = np.clip(np.minimum(bottom, edges + 1) - np.maximum(top, edges), 0, 1)
        weights += face * down[:, None] * across
    return (weights / weights.mean()).reshape(-1)


def shows_face(row: dict[str, Any]) -> bool:
    """A reference a person would choose: face to be seen, not far away."""
    return row["attributes"]["angle"] in ("front", "three_quarter") and row["attributes"][
        "framing"
    ] in ("close_up", "half_body")


def padded(embeds: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings padded to one of few lengths (each is compiled once), and their mask."""
    needed = max(len(e) for e in embeds)
    longest = next((n for n in LENGTHS if n >= needed), -(-needed // 64) * 64)
    out = torch.zeros(len(embeds), longest, embeds[0].shape[-1])
    mask = torch.zeros(len(embeds), longest, dtype=torch.bool)
    for k, e in enumerate(embeds):
        out[k, : len(e)], mask[k, : len(e)] = e, True
    return out, mask


def encode_edit(base: Base, said: list[str], pictures: list[np.ndarray]) -> list[torch.Tensor]:
    """The edit template for a batch at once, as `Base.encode_prompts` does one by one."""
    from limner.models.base import EDIT_PREFIX, PICTURE, PREFIX_TOKENS, SUFFIX

    shown = [base.fit(Image.fromarray(np.array(p)), base.info.condition_area) for p in pictures]
    inputs = base.processor(
        text=[EDIT_PREFIX + PICTURE.format(1) + s + SUFFIX for s in said],
        images=shown,
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        hidden = base.text_encoder.model(**inputs).last_hidden_state
    drop = PREFIX_TOKENS["edit"]
    return [
        h[m.bool()][drop:].clone() for h, m in zip(hidden, inputs["attention_mask"], strict=True)
    ]


def noise_levels(count: int, shift: float) -> torch.Tensor:
    """Three quarters logit-normal, one quarter uniform, shifted (1.6: low-resolution Qwen mu)."""
    u = torch.sigmoid(torch.randn(count))
    u = torch.where(torch.rand(count) < 0.25, torch.rand(count), u)
    return shift * u / (1 + (shift - 1) * u)


class Trainer:
    """Weights, optimizers and average; saved and resumed whole."""

    def __init__(self, base: Base, state_file: Path, compiled: bool) -> None:
        self.model = base.transformer.float().train().requires_grad_(True)
        matrices = [
            p
            for n, p in self.model.named_parameters()
            if p.dim() == 2 and "transformer_blocks" in n and "_mod" not in n
        ]
        ids = {id(p) for p in matrices}
        rest = [p for p in self.model.parameters() if id(p) not in ids]
        self.adam = torch.optim.AdamW(rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0)
        self.muon = Muon(matrices, MUON_LR)
        self.average = copy.deepcopy(self.model).eval()
        self.state_file, self.step = state_file, 0
        if state_file.exists():
            state = torch.load(state_file, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.adam.load_state_dict(state["adam"])
            self.muon.load_state_dict(state["muon"])
            self.step = state["step"]
        else:  # the package's weights, when there are some, are where an earlier machine came to
            start = MINIATURE / "transformer"
            if (start / "config.json").is_file():
                self._begin_from(start)
        if compiled:  # before the first trace
            torch._dynamo.config.recompile_limit = 64
        real_rotation()
        self._positions(self.model)
        self._positions(self.average)
        if compiled:
            for block in self.model.transformer_blocks:
                block.forward = torch.compile(block.forward, dynamic=False)

    def _begin_from(self, folder: Path) -> None:
        from diffusers import QwenImageTransformer2DModel

        weights = QwenImageTransformer2DModel.from_pretrained(folder).float().state_dict()
        self.model.load_state_dict(weights)
        self.average.load_state_dict(weights)

    @staticmethod
    def _positions(model: Any) -> None:
        original = model.pos_embed.forward

        def real(*args: Any, **kwargs: Any) -> Any:
            return tuple(
                (f.real.contiguous(), f.imag.contiguous()) for f in original(*args, **kwargs)
            )

        model.pos_embed.forward = real

    def save(self) -> None:
        """The resumable state, written whole."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "adam": self.adam.state_dict(),
            "muon": self.muon.state_dict(),
            "step": self.step,
        }
        temp = self.state_file.with_suffix(".tmp")
        torch.save(state, temp)
        temp.replace(self.state_file)

    def update(
        self,
        x: torch.Tensor,
        references: torch.Tensor | None,
        embeds: torch.Tensor,
        mask: torch.Tensor,
        weights: torch.Tensor,
        rate: float,
        likeness: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    ) -> tuple[float, float]:
        """One optimizer step on clean latents `x` (B, 64, 64), weights (B, 64).

        likeness: of the clean picture the step heads for and the noise levels. Returns the plain
        loss and that of the likeness.
        """
        for optimizer, base_rate in ((self.adam, ADAM_LR), (self.muon, MUON_LR)):
            for group in optimizer.param_groups:
                group["lr"] = base_rate * rate
        sigma = noise_levels(len(x), SHIFT if references is None else EDIT_SHIFT)
        noise = torch.randn_like(x)
        noisy = (1 - sigma)[:, None, None] * x + sigma[:, None, None] * noise
        grid = (1, SIZE // 16, SIZE // 16)
        hidden = noisy if references is None else torch.cat([noisy, references], 1)
        shapes = [[grid] * (1 if references is None else 2)] * len(x)
        # the CPU flash kernel's backward is slower than plain matrix products at these sizes
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast("cpu", torch.bfloat16):
                v = self.model(
                    hidden_states=hidden,
                    timestep=sigma,
                    encoder_hidden_states=embeds,
                    encoder_hidden_states_mask=mask,
                    img_shapes=shapes,
                    return_dict=False,
                )[0][:, : x.shape[1]]
            error = ((v.float() - (noise - x)) ** 2).mean(-1)
            loss, away = (error * weights).mean(), torch.zeros(())
            if likeness is not None:
                away = likeness(noisy - sigma[:, None, None] * v.float(), sigma)
            (loss + LIKENESS_WEIGHT * away).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        self.muon.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        with torch.no_grad():
            decay = min(0.996, (self.step + 1) / (self.step + 20))
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - decay
            )
        return float(error.detach().mean()), float(away.detach())


def train(work: Path, shards: Path, minutes: float, people: int, final: bool) -> None:
    """Train for `minutes`. `final`: the rate falls to zero and only the average is written.

    Where `work` has an identity.pt (stage `identity`), likeness is asked for too.
    """
    from scripts.miniature.identity import Likeness

    base = open_base(str(work / "base"))
    data = Data(shards, base, people - people // 10)
    trainer = Trainer(base, work / "transformer_state.pt", compiled=True)
    rng = random.Random(f"train {trainer.step}")
    torch.manual_seed(trainer.step)
    count = data.refresh()
    asks = (work / "identity.pt").is_file()
    reader = Likeness(work, shards, people - people // 10) if asks else None
    print(f"{count} drawings, from step {trainer.step}", flush=True)
    losses: dict[str, list[float]] = {}
    start = last_save = last_look = time.monotonic()
    while (elapsed := time.monotonic() - start) < minutes * 60:
        left = 1 - elapsed / (minutes * 60)
        rate = min(1.0, (trainer.step + 1) / 60) * (max(0.02, left) if final else 1.0)
        kind = KINDS[trainer.step % len(KINDS)]
        chosen, references, said = data.batch(kind, rng)
        if kind == "edit":
            embeds = encode_edit(base, said, [data.pictures[i] for i in references])
            shown = data.stack(references)
        else:
            embeds, shown = base.encode_prompts(said), None
        of_kind = data.weights["edit" if kind == "edit" else "text"]
        weights = torch.from_numpy(np.stack([of_kind[i] for i in chosen]))
        goal, term = data.stack(chosen), None
        if reader is not None:
            rows = [data.rows[i] for i in chosen]
            term = partial(reader, goal=goal, rows=rows, told=kind == "edit")
        loss, away = trainer.update(goal, shown, *padded(embeds), weights, rate, term)
        losses.setdefault(kind, []).append(loss)
        losses.setdefault(f"{kind} away", []).append(away)
        if trainer.step % 25 == 0:
            mean = {k: round(float(np.mean(v[-40:])), 4) for k, v in losses.items()}
            print(f"step {trainer.step} {elapsed:.0f}s of {len(data.rows)} {mean}", flush=True)
        if not math.isfinite(loss):
            raise SystemExit("the loss is not finite; the last saved state stands")
        now = time.monotonic()
        if now - last_look > 300:
            last_look = now
            data.refresh()
        if now - last_save > 240 and not final:
            last_save = now
            trainer.save()
    if not final:
        trainer.save()
    write(work, trainer, final)


def write(work: Path, trainer: Trainer, final: bool) -> None:
    """The average as a transformer folder, with how far it came beside it."""
    from limner.models import miniature

    clean = miniature.build_transformer()
    clean.load_state_dict(trainer.average.state_dict())
    folder = work / "base" / "transformer"
    clean.to(torch.bfloat16).save_pretrained(folder)
    note = {"steps": trainer.step, "final": final}
    (work / "transformer_measured.json").write_text(json.dumps(note))
    print("wrote", folder, note, flush=True)
