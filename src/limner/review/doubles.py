"""Copies within the set: a copy of an earlier picture counts against the later one.

In: all judgements. Out: findings. Perceptual hashes find whole copies (mirrored, re-encoded),
correlated windows find crops too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limner.review.case import Judgement
from limner.review.rules import Rule
from limner.vision.copies import Copy, find_copies, unpack
from limner.vision.duplicates import Hashes, Nearest, Pool


def judge(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    """A take kept by hand never yields; a copy of a rejected take is judged by its own faults."""
    order = sorted(found, key=lambda one: (not one.case.trusted, one.case.take.id))
    crops = _crops(order, table)
    earlier = Pool()
    names: dict[object, str] = {one.case.take.id: one.case.called for one in found}
    standing: set[int] = set()
    for place, one in enumerate(order):
        reading = one.case.reading
        if reading is None:
            continue
        _hash(one, names, earlier, table)
        _crop(one, order, [c for c in crops.get(place, []) if c.of in standing], table)
        if one.verdict != "reject":
            standing.add(place)
            if reading.phash is not None and reading.phash_mirrored is not None:
                earlier.add(one.case.take.id, Hashes(reading.phash, reading.phash_mirrored))


def _crops(order: Sequence[Judgement], table: Mapping[str, Rule]) -> dict[int, list[Copy]]:
    """Place of the later picture -> copies of earlier ones."""
    places = [i for i, one in enumerate(order) if one.case.reading and one.case.reading.thumb]
    thumbs = [unpack(order[i].case.reading.thumb) for i in places]  # type: ignore[union-attr]
    found: dict[int, list[Copy]] = {}
    for copy in find_copies(thumbs, least=table["copy_doubt"].value):
        moved = Copy(
            places[copy.index], places[copy.of], copy.correlation, copy.mirrored, copy.crop
        )
        found.setdefault(moved.index, []).append(moved)
    return found


def _hash(
    one: Judgement,
    names: Mapping[object, str],
    earlier: Pool,
    table: Mapping[str, Rule],
) -> None:
    reading = one.case.reading
    assert reading is not None
    if reading.phash is None or reading.phash_mirrored is None:
        one.put("nearest_bits", None, "bits", reading.missing.get("duplicate", ""))
        return
    twin = earlier.nearest(Hashes(reading.phash, reading.phash_mirrored))
    if twin is None:
        one.put("nearest_bits", None, "bits", "no earlier take to compare with")
        return
    one.put("nearest_bits", float(twin.bits), "bits")
    _twin(one, twin, names[twin.key], table)


def _twin(one: Judgement, twin: Nearest, called: str, table: Mapping[str, Rule]) -> None:
    how = "a mirrored copy" if twin.mirrored else "a copy"
    if twin.bits <= table["duplicate_bits"].value:
        one.found("duplicate", "reject", f"it is {how} of {called} ({twin.bits} bits apart)")
    elif twin.bits <= table["alike_bits"].value:
        one.found("duplicate", "look", f"it is much like {called} ({twin.bits} bits apart)")


def _crop(
    one: Judgement, order: Sequence[Judgement], copies: Sequence[Copy], table: Mapping[str, Rule]
) -> None:
    best = max(copies, key=lambda c: c.correlation, default=None)
    one.put("copy_correlation", best.correlation if best else None, "", NONE_LIKE)
    if best is None or any(f.rule == "duplicate" and f.severity == "reject" for f in one.findings):
        return
    how = "mirrored " if best.mirrored else ""
    part = f"part ({100 * best.crop:.0f} % of the side) of the same picture as"
    what = f"it shows a {how}{part}" if best.crop < 0.97 else f"it is a {how}copy of"
    said = f"{what} {order[best.of].case.called} (correlation {best.correlation:.2f})"
    sure = best.correlation >= table["copy_match"].value
    one.found("duplicate", "reject" if sure else "look", said)


NONE_LIKE = "no earlier picture is like it"
