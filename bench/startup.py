"""How long `limner --help` and `limner status` take, wall clock, beside Python's own start.

In: nothing. Out: a table, and JSON with --json. Peers: `python -c pass` (the floor) and
`import torch` (what a face that loads the trainer would cost). Bound of the project: 0.3 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOUND_S = 0.3


def seconds(command: list[str], runs: int) -> list[float]:
    """Wall seconds of `runs` runs, one warm-up before them."""
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def main() -> int:
    """Measure and print; exit code 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    python = [sys.executable, "-c"]
    limner = [*python, "from limner.cli import main; main()"]
    rows = {}
    with tempfile.TemporaryDirectory() as temp:
        project = str(Path(temp) / "grace")
        new = ["new", "grace", "--trigger", "grace_char", "--class-word", "woman"]
        subprocess.run(
            [*limner, *new, "--likeness", "synthetic", "--dir", project],
            check=True,
            capture_output=True,
        )
        for name, command, runs in (
            ("python -c pass", [*python, "pass"], args.runs),
            ("limner --help", [*limner, "--help"], args.runs),
            ("limner status", [*limner, "-C", project, "status"], args.runs),
            ("python -c 'import torch'", [*python, "import torch"], 3),
        ):
            taken = seconds(command, runs)
            rows[name] = {"median_s": statistics.median(taken), "max_s": max(taken), "n": runs}
    if args.json:
        print(json.dumps(rows))
    else:
        for name, row in rows.items():
            print(f"{name:<26} median {row['median_s']:.3f} s  max {row['max_s']:.3f} s")
    missed = [n for n, r in rows.items() if n.startswith("limner") and r["median_s"] > BOUND_S]
    for name in missed:
        print(f"{name} is slower than {BOUND_S} s", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
