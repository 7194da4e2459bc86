"""Write data/parsed.json of every package with words: run it after a change of a data/*.yaml.

python scripts/build_words.py            # --check: exit 1 when one is stale, write nothing
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from limner.lexicon.tables import PARSED, compiled

PACKAGES = ("limner.lexicon", "limner.shots", "limner.captions")


def main(check: bool) -> int:
    """Write the files, or tell which are stale."""
    stale = 0
    for package in PACKAGES:
        file = Path(str(resources.files(package))) / "data" / PARSED
        text = compiled(package)
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"stale: {file.name} of {package}; run python scripts/build_words.py")
        else:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {PARSED} of {package}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
