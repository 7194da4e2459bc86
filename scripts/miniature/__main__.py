"""Make the miniature, stage by stage or all at once; every stage resumes.

    python -m scripts.miniature all --work build/miniature --hours 4

corpus (drawings) -> vae -> base (tokenizer, text encoder) -> identity -> transformer -> measure ->
pack.
`--work` can be copied to another machine at any time.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np


def pool_of(shards: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures to train the autoencoder on, and 100 of people it never sees."""
    from scripts.miniature import corpus

    files = corpus.shards(shards)
    seen = np.concatenate([np.load(f) for f in files[:-1] or files])
    held_out = np.load(files[-1])[::5]
    return seen, held_out


def make_base(work: Path, shards: Path) -> None:
    """Tokenizer on the corpus' own texts, text encoder, and the whole folder."""
    from diffusers import AutoencoderKLQwenImage

    from limner.models import miniature
    from limner.models.info import NUMBERS_FILE
    from scripts.miniature import corpus, text
    from scripts.miniature.pack import NUMBERS

    rng = random.Random("tokenizer")
    rows = []
    for file in corpus.shards(shards)[:8]:
        rows += json.loads(file.with_suffix(".json").read_text())["rows"]
    kinds = ("caption", "caption", "prompt", "edit")
    lines = [text.say(rng.choice(rows), rng, rng.choice(kinds)) for _ in range(20000)]
    tokenizer = miniature.build_tokenizer(lines)
    miniature.assemble(
        work / "base",
        tokenizer=tokenizer,
        vae=AutoencoderKLQwenImage.from_pretrained(work / "vae"),
        transformer=miniature.build_transformer(),
        text_encoder=miniature.build_text_encoder(tokenizer),
    )
    (work / "base" / NUMBERS_FILE).write_text(json.dumps(NUMBERS, indent=1), encoding="utf-8")
    lengths = [len(tokenizer(line).input_ids) for line in lines[:2000]]
    print(f"tokenizer {len(tokenizer)} tokens; a text has {np.mean(lengths):.0f}", flush=True)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stage",
        choices=["all", "corpus", "vae", "base", "identity", "transformer", "measure", "pack"],
    )
    parser.add_argument("--work", type=Path, default=Path("build/miniature"))
    parser.add_argument("--people", type=int, default=2500)
    parser.add_argument("--hours", type=float, default=4.0, help="of training, for `all`")
    parser.add_argument("--minutes", type=float, help="of training, for one stage")
    parser.add_argument("--final", action="store_true", help="let the learning rate fall to zero")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    from limner.models import runtime

    runtime.prepare()
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    shards: Path = args.work / "corpus"
    stages = [args.stage]
    if args.stage == "all":
        stages = ["corpus", "vae", "base", "identity", "transformer", "measure", "pack"]
    args.work.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        run(stage, args, shards)


def run(stage: str, args: argparse.Namespace, shards: Path) -> None:
    """One stage."""
    from limner.models import open_base
    from scripts.miniature import corpus, transformer, vae

    if stage == "corpus":
        corpus.make(shards, args.people, args.worker, args.workers)
    elif stage == "vae":
        minutes = args.minutes or args.hours * 60 * 0.25
        vae.train(args.work, *pool_of(shards), minutes, args.final or args.stage == "all")
    elif stage == "base":
        make_base(args.work, shards)
    elif stage == "identity":
        from scripts.miniature import identity

        held_out = args.people - args.people // 10
        transformer.Data(shards, open_base(str(args.work / "base")), held_out).refresh()
        identity.train(args.work, shards, args.minutes or args.hours * 2.5, held_out)
    elif stage == "transformer":
        minutes = args.minutes or args.hours * 60 * 0.75
        if args.stage == "all":
            transformer.train(args.work, shards, minutes * 0.8, args.people, final=False)
            minutes *= 0.2
        final = args.final or args.stage == "all"
        transformer.train(args.work, shards, minutes, args.people, final)
    elif stage == "measure":
        from scripts.miniature import measure

        measure.measure(args.work, shards, args.people)
    else:
        from scripts.miniature import pack

        pack.pack(args.work)


if __name__ == "__main__":
    main()
