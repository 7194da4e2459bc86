"""Make the face finder and the identity embedder for drawings that Limner ships.

    python -m scripts.train_embedder --corpus DIR [--people 1200] [--related 2600] [--minutes 40]

Draws what is missing of the corpus and of its families of look-alikes (DIR/families), cuts the
faces, fits both networks on nine tenths of the persons, writes finder.onnx, drawn.onnx, drawn.json,
centres.json and calibrations.json into limner/vision/data and prints AUC with n on the persons
left out. Killed at any point, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch

from limner.atelier import RENDERER_VERSION
from scripts.embedder import families, networks, views
from scripts.embedder.corpus import load
from scripts.embedder.train import train_embedder, train_finder
from scripts.miniature import corpus

DATA = Path(__file__).parent.parent / "src" / "limner" / "vision" / "data"
FINDER_SHARE = 0.35


def main() -> None:
    """Parse the command line and run every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="shards of scripts.miniature")
    parser.add_argument("--people", type=int, default=1200, help="unrelated persons")
    parser.add_argument("--related", type=int, default=2600, help="persons in families")
    parser.add_argument("--minutes", type=float, default=40.0, help="CPU minutes of training")
    parser.add_argument("--work", type=Path, default=None, help="default: CORPUS/embedder")
    parser.add_argument("--keep-finder", action="store_true", help="fit the embedder alone")
    parser.add_argument("--no-draw", action="store_true", help="use the shards that are there")
    args = parser.parse_args()
    work = args.work or args.corpus / "embedder"
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    related = args.corpus / "families"
    if not args.no_draw:
        corpus.make(args.corpus, args.people)
        corpus.make(related, args.related, cast=families.CAST, first=families.FIRST)
    finder, minutes = None, args.minutes
    if not args.keep_finder:
        train = load(args.corpus, args.people, measured=False)
        print(f"{len(train.pictures)} drawings of other characters to learn from", flush=True)
        minutes = args.minutes * (1 - FINDER_SHARE)
        finder = train_finder(train, work, args.minutes * FINDER_SHARE)
        del train
    views.make([args.corpus, related], work / "views")
    embedder, persons = train_embedder(work / "views", work, minutes)
    test = load(args.corpus, args.people, measured=True)
    alike = load(related, families.FIRST + args.related, measured=True)
    ship(finder, embedder, DATA, persons, minutes)
    from scripts.embedder import report

    print(json.dumps(report.write(test, alike, DATA, work), indent=1))


def ship(
    finder: torch.nn.Module | None,
    embedder: torch.nn.Module,
    data: Path,
    persons: int,
    minutes: float,
) -> None:
    """Write the networks as ONNX and the card that names them. finder None: the shipped one."""
    data.mkdir(parents=True, exist_ok=True)
    card = {"renderer": RENDERER_VERSION, "persons": persons, "minutes": minutes}
    made = {"drawn": networks.export_embedder(embedder)}  # type: ignore[arg-type]
    if finder is not None:
        made["finder"] = networks.export_finder(finder)  # type: ignore[arg-type]
    for name, model in made.items():
        (data / f"{name}.onnx").write_bytes(model)
    for name in ("finder", "drawn"):
        model = (data / f"{name}.onnx").read_bytes()
        card[name] = {"bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}
    card["version"] = card["drawn"]["sha256"][:12]  # type: ignore[index]
    (data / "drawn.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
