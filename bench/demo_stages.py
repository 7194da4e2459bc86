"""Wall seconds of every stage of `limner demo`, in a fresh folder.

In: nothing (--keep DIR to look at the project afterwards). Out: a table, and JSON with --json.
Bound of the project: 6 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOUND_S = 360.0


def main() -> int:
    """Run the demo and print its seconds; exit code 1 when it failed or took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        folder = args.keep or Path(temp) / "grace"
        command = [sys.executable, "-c", "from limner.cli import main; main()"]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "demo", "--keep", str(folder), "--json"], capture_output=True, text=True
        )
        wall = time.perf_counter() - start
    found = json.loads(done.stdout.strip().splitlines()[-1])
    result = {
        "exit_code": done.returncode,
        "wall_s": round(wall, 1),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "seconds": found.get("seconds"),
        "verdict": found.get("verdict"),
        "error": found.get("error"),
    }
    if args.json:
        print(json.dumps(result))
    else:
        for stage, seconds in (found.get("seconds") or {}).items():
            print(f"{stage:<16} {seconds:8.1f} s")
        print(f"{'wall':<16} {wall:8.1f} s   {result['cores']} cores, load {result['load']}")
        print(found.get("verdict", {}).get("statement", found.get("error")))
    return 0 if done.returncode == 0 and wall <= BOUND_S else 1


if __name__ == "__main__":
    sys.exit(main())
