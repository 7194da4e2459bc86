"""How fast review measures pictures of 1024 x 1024, cold and cached, beside other ways, in one run.

    python bench/review_speed.py [--pictures 12] [--flat 0]

Rows: review (each picture decoded and detected once, every measure from that); the same models used
naively (each measure decodes, and where it needs a face detects, anew); dlib and OpenCV alone
(decode, detect, embed, Laplacian: a script one would write); CleanVision, where it is installed
(image issues only: no faces, no identity). One process, one thread. --flat N measures at most 300
pictures more and prints the process's largest memory on the way; then N readings, made from those
by changing vectors, hashes and thumbnails, are compared with one another as a review of a folder
compares them, with time and memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from limner.atelier import Character, identity_from_seed, scene_for
from limner.project.records import Shot, Take
from limner.review.case import Case
from limner.review.judge import judge
from limner.review.measuring import Job, Seen, measure
from limner.review.rules import rules
from limner.vision import copies, damage, duplicates, quality, texture
from limner.vision.align import aligned_crop
from limner.vision.embedders import open_embedder
from limner.vision.faces import find_faces
from limner.vision.person import SIDE, person
from limner.vision.pictures import open_picture, resize
from limner.vision.reading import Reading

DRAWN, SHOWN = 512, 1024


def make(folder: Path, count: int) -> list[Path]:
    """Drawings of 512 px enlarged to 1024 with a little grain; every file is another picture."""
    who = Character(identity_from_seed(5))
    base = [
        who.draw(scene_for({"angle": a, "framing": f}, i), size=DRAWN).image
        for i, (a, f) in enumerate(
            (("front", "close_up"), ("three_quarter", "half_body"), ("front", "cowboy"))
        )
    ]
    rng, files = np.random.default_rng(1), []
    for i in range(count):
        big = resize(np.asarray(base[i % len(base)]), SHOWN, SHOWN)
        grainy = np.clip(big + rng.normal(0, 2, big.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{i:05d}.png")
        Image.fromarray(grainy).save(files[-1], compress_level=1)
    return files


def naive(file: Path) -> None:
    """What review measures, each measure with its own decoding and detecting."""
    for name in ("dlib", "drawn"):
        image = open_picture(file)
        found = find_faces(image)
        if found:
            open_embedder(name).embed(image, found[0])
    for work in (_sharp, _tone, _skin, _person):
        image = open_picture(file)
        found = find_faces(image)
        if found:
            work(image, found[0])
    for whole in (damage.blockiness, damage.fine_detail, damage.noise, damage.borders):
        whole(damage.luma(open_picture(file)))
    duplicates.hashes(open_picture(file))
    copies.thumbnail(open_picture(file))


def _sharp(image: np.ndarray, face: object) -> None:
    crop = aligned_crop(image, face, 128)  # type: ignore[arg-type]
    quality.laplacian_variance(crop)
    quality.spectral_slope(crop)


def _tone(image: np.ndarray, face: object) -> None:
    quality.lightness(aligned_crop(image, face, 64))  # type: ignore[arg-type]


def _skin(image: np.ndarray, face: object) -> None:
    texture.skin(image, face)  # type: ignore[arg-type]


def _person(image: np.ndarray, face: object) -> None:
    person(resize(image, SIDE, SIDE), face, SIDE / SHOWN)  # type: ignore[arg-type]


def plain(file: Path) -> None:
    """Decode, dlib's detector and descriptor, OpenCV's Laplacian; nothing else."""
    import cv2

    from limner.vision import dlib_faces, embedders

    hog, _, points = dlib_faces._models()
    bgr = cv2.imread(str(file))
    image = np.ascontiguousarray(bgr[..., ::-1])
    for box in hog(image, 0)[:1]:
        shape = points(image, box)
        embedders._dlib_model().compute_face_descriptor(image, shape)
    cv2.Laplacian(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var()


def clean_vision(folder: Path) -> None:
    """CleanVision's image issues of a folder, one process."""
    from cleanvision import Imagelab  # type: ignore[import-not-found]

    Imagelab(data_path=str(folder)).find_issues(n_jobs=1, verbose=False)


def rate(name: str, count: int, work: Callable[[], None]) -> float:
    """Run and print one row: pictures a CPU second (one core)."""
    began, wall = time.process_time(), time.perf_counter()
    work()
    spent, wall = time.process_time() - began, time.perf_counter() - wall
    print(
        f"| {name} | {count / spent:.2f} | {spent / count:.3f} | {wall / count:.3f} |", flush=True
    )
    return count / spent


def main() -> None:
    """Make pictures, time every way, print a table."""
    parser = argparse.ArgumentParser(description="Review's speed")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--flat", type=int, default=0, help="pictures of the memory trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        (here / "pictures").mkdir()
        files = make(here / "pictures", given.pictures)
        measure(Job(files[0], "drawing", 64.0), here / "warm")  # models are loaded once
        plain(files[0])
        jobs = [Job(file, "drawing", 64.0) for file in files]

        def review() -> None:
            for job in jobs:
                measure(job, here / "readings")

        print("| way | pictures a CPU second | CPU s a picture | wall s |")
        print("|---|---|---|---|")
        cold = rate("review, cold", len(files), review)
        rate("review, cached", len(files), review)
        slow = rate("same models, naively", len(files), lambda: [naive(f) for f in files] and None)
        rate("dlib and OpenCV alone", len(files), lambda: [plain(f) for f in files] and None)
        if find_spec("cleanvision"):
            rate("CleanVision", len(files), lambda: clean_vision(here / "pictures"))
        else:
            print("| CleanVision | not measured: not installed | | |")
        print(f"\nreview is {cold / slow:.1f} times as fast as the same models used naively")
        flat(here, given.flat)


MEASURED = 300
"""Pictures of the memory trial that are really measured; each leaves only its reading."""


def flat(here: Path, count: int) -> None:
    """Print the largest memory after every tenth of the measured pictures, then for all readings
    compared with one another."""
    if not count:
        return
    readings, done = [], 0
    while done < min(count, MEASURED):
        folder = here / f"flat{done}"
        folder.mkdir()
        for file in make(folder, MEASURED // 10):
            found = measure(Job(file, "drawing", 64.0), here / "flat_readings").reading
            assert found is not None
            readings.append(found)
            file.unlink()
            done += 1
        print(f"{done} pictures measured: {_peak():.0f} MiB at most", flush=True)
    rng = np.random.default_rng(2)
    cases = [_case(i, changed(readings[i % len(readings)], rng)) for i in range(count)]
    before, began = _peak(), time.process_time()
    judge(cases, rules({}))
    print(
        f"{count} readings compared: {time.process_time() - began:.0f} CPU s, {_peak():.0f} MiB at "
        f"most ({before:.0f} MiB when they were read)"
    )


def changed(reading: Reading, rng: np.random.Generator) -> Reading:
    """As of another picture of the same person: nothing of it is shared in memory."""
    soft = Image.fromarray(rng.integers(0, 255, (6, 6)).astype(np.uint8))
    vectors = {
        name: [float(v) for v in np.asarray(vector) + rng.normal(0, 0.02, len(vector))]
        for name, vector in reading.vectors.items()
    }
    told = {
        **json.loads(json.dumps(reading.as_dict())),
        "vectors": vectors,
        "thumb": copies.pack(np.asarray(soft.resize((copies.SIDE, copies.SIDE)))),
        "phash": f"{int(rng.integers(0, 2**63)):016x}",
        "phash_mirrored": f"{int(rng.integers(0, 2**63)):016x}",
    }
    return Reading.from_dict(told)


def _case(i: int, reading: Reading) -> Case:
    take = Take(i + 1, f"{i}.png", "folder", 1, 0, "done", path=f"{i}.png")
    shot = Shot(f"{i}.png", i, {}, "", 0)
    return Case(take, shot, Seen(take, reading), "drawing", name=f"{i}.png")


def _peak() -> float:
    """Largest memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
