"""Size of a core install (no extras, so no torch), package by package, and of each extra asked.

In: names of extras, e.g. `vision faces` (downloads from the package index). Out: a table in MB.
Each dependency has to earn its weight; this says what each one weighs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def megabytes(path: Path) -> float:
    """Size of a file or a folder on disk, in 10^6 bytes, without compiled bytecode."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files if p.suffix != ".pyc") / 1e6


def main() -> None:
    """Install into a throw-away environment and weigh it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        venv.create(temp, with_pip=True)
        python = Path(temp) / "bin" / "python"
        packages = next((Path(temp) / "lib").glob("python3*")) / "site-packages"
        before = {p.name for p in packages.iterdir()}
        wanted = f"{TOP}[{','.join(args.extras)}]" if args.extras else str(TOP)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", wanted]
        subprocess.run(command, check=True, stdout=sys.stderr)
        sizes = {p.name: megabytes(p) for p in packages.iterdir() if p.name not in before}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:25]:
        print(f"{size:8.1f} MB  {name}")
    print(
        f"{sum(sizes.values()):8.1f} MB  all of it ({'core' if not args.extras else args.extras})"
    )


if __name__ == "__main__":
    main()
