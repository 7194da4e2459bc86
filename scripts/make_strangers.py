"""Make the strangers that ship with Limner: faces of drawn characters nobody will train.

    python scripts/make_strangers.py [--people 200] [--base miniature] [--out FILE]

Each person gives a front and a three-quarter close view at the size a small base draws, sent
through that base's autoencoder, since renders went through it too. People come from their own
range of seeds: neither the embedder nor the miniature has seen them. Out: an .npz of unit vectors
per embedder, with head turns and the tools that made them (limner/evaluation/data).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from limner.atelier import RENDERER_VERSION, Character, identity_from_seed, scene_for
from limner.evaluation import identity
from limner.events import Ticker
from limner.lexicon import drawable as lexicon

FIRST_SEED = 8_000_000  # corpus of miniature and embedder: 1,000,000 and up; users: below that
SHIPPED = Path("src/limner/evaluation/data/strangers_drawing.npz")
FRAMINGS = {"close_up": 70, "half_body": 30}


def attributes(rng: random.Random, angle: str) -> dict[str, str]:
    """One possible combination of an angle."""
    setting = rng.choice(list(lexicon.settings().values()))
    return {
        "angle": angle,
        "framing": rng.choices(list(FRAMINGS), FRAMINGS.values())[0],
        "expression": rng.choice(list(lexicon.moods())),
        "expression_variant": "0",
        "outfit": rng.choice(list(lexicon.outfits())),
        "setting": setting.id,
        "lighting": rng.choice(setting.lightings),
        "pose": "relaxed",
        "camera": "canon_85",
        "gaze": "camera",
    }


def drawings(people: int, size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Two pictures a person, uint8 (size, size, 3)."""
    for person in range(people):
        rng = random.Random(f"stranger {person}")
        character = Character(identity_from_seed(FIRST_SEED + person))
        for angle in ("front", "three_quarter"):
            scene = scene_for(attributes(rng, angle), rng.randrange(1 << 30))
            yield character.draw(scene, size).image


def through(base: Any, picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A picture as the base's autoencoder gives it back."""
    from PIL import Image

    latents = base.encode_images([Image.fromarray(picture)])[0][None]
    back: np.ndarray[Any, Any] = base.decode(latents, *picture.shape[:2])[0]
    return back


def main() -> None:
    """See the module's note."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--base", default="miniature", help="a base, or `none`")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    base, size, smallest, source = None, 128, 24.0, "drawings"
    if options.base != "none":
        from limner.models import open_base

        base = open_base(options.base)
        size, smallest = base.info.resolution, float(base.info.smallest_face_px)
        source = f"drawings through the autoencoder of base {base.info.fingerprint[:16]}"
    tools, missing = identity.usable_embedders("drawing")
    if missing:
        sys.exit(f"missing: {missing}")
    looks, ticker = [], Ticker("strangers", 2 * options.people)
    for picture in drawings(options.people, size):
        shown = picture if base is None else through(base, picture)
        looks.append(identity.look(shown, tuple(tools), "drawing", smallest))
        at = ticker.tick()
        if at.done % 50 == 0:
            print(f"{at.done} of {at.total}, {at.eta:.0f} s left", file=sys.stderr, flush=True)
    seen = [look for look in looks if look.face]
    identity.write_strangers(
        options.out,
        identity.Strangers(
            {name: np.stack([look.vectors[name] for look in seen]) for name in tools},
            np.array([np.nan if look.yaw is None else look.yaw for look in seen]),
            tools,
            f"{options.people} drawn characters, {source}, renderer {RENDERER_VERSION}",
        ),
    )
    print(f"{len(seen)} faces of {len(looks)} pictures: {options.out}")


if __name__ == "__main__":
    main()
