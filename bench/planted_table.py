"""What bench/planted_runs.py found, as a section of the manual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limner.evaluation import statistics as stats
from limner.project import files

MARK = "\n## Planted runs\n"


def table(runs: dict[str, Any], tested: str, kinds: dict[str, str]) -> str:
    """The section of the manual: kinds, how many were named right, interval, what else was said.

    tested: as `under_test` names base and embedder. kinds: name -> the right answer, in words.
    """
    done = [v for v in runs.values() if "right" in v]
    named = sum(bool(v["right"]) for v in done)
    network, _, embedder = tested.partition("-")
    lines = [
        MARK,
        "Whole runs on the miniature, a character each, one fault planted in each; the product's "
        "own diagnosis from verdict, advice and caption check. Drawings, review, captions and the "
        "base's renders are shared by the kinds of one seed; training, choice and claim are not. "
        "Made by `python -m bench.planted_runs --out docs/trust.md`. Aim: 90 % of each kind. "
        f"Base {network}, embedder {embedder}: {named} of {len(done)} were named right. Which "
        "lines of the advice were set on which of these seeds stands in docs/notebook.md.",
        "",
        "| planted | the right answer | named right | 95 % interval | said instead |",
        "|---|---|---|---|---|",
    ]
    for kind, says in kinds.items():
        mine = [v for k, v in runs.items() if k.rpartition(" ")[0] == kind and "right" in v]
        hits = sum(bool(v["right"]) for v in mine)
        span = stats.clopper_pearson(hits, len(mine))
        shown = f"{100 * span.low:.0f} to {100 * span.high:.0f} %" if mine else "not run"
        wrong = [", ".join([str(v["word"]), *v["found"]]) for v in mine if not v["right"]]
        instead = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
        lost = sum("error" in v for k, v in runs.items() if k.rpartition(" ")[0] == kind)
        instead += f"; {lost} not finished" if lost else ""
        lines.append(f"| {kind} | {says} | {hits} of {len(mine)} | {shown} | {instead} |")
    bleeding = [v for k, v in runs.items() if k.startswith("one background") and "right" in v]
    bled = sum("background_bleed" in v["found"] for v in bleeding)
    same = [v for k, v in runs.items() if k.startswith("right ") and v.get("n")]
    shares = ", ".join(f"{v['hits']} of {v['n']}" for v in same)
    lines += [
        "",
        f"Of the runs with one background {bled} of {len(bleeding)} bled in the pictures; in the "
        "others it was shown as a risk only. Matches of the right runs: "
        f"{shares or 'not run'}.",
    ]
    return "\n".join(lines) + "\n"


def publish(out: Path, section: str) -> None:
    """Put the section at the end of the page, in place of the one that was there."""
    page = out.read_text(encoding="utf-8") if out.is_file() else ""
    files.write_text(out, page.partition(MARK)[0].rstrip("\n") + "\n" + section)
