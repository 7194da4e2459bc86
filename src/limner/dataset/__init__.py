"""Dataset: the folder a trainer reads, and the lock that proves what is in it.

1. `build` copies kept takes and captions into a numbered version; finished versions never change.
2. References are held out before training, by yaw bin and by hash: the same takes, the same split.
3. `limner.lock.json` holds SHA-256 of every picture and caption, and all that made them.
4. `verify_lock` says what changed since, `check` adds what a trainer would stumble over.
5. `export` writes a version in the layout of a trainer or service, `import_dataset` brings captions
   edited there home; the way there and back is equal for every layout.
"""

from limner.dataset.exporting import export, from_folder, from_project
from limner.dataset.importing import import_dataset
from limner.dataset.layouts import LAYOUTS, layout_named
from limner.dataset.lock import verify_lock
from limner.dataset.reading import read
from limner.dataset.stage import build, check

__all__ = [
    "LAYOUTS",
    "build",
    "check",
    "export",
    "from_folder",
    "from_project",
    "import_dataset",
    "layout_named",
    "read",
    "verify_lock",
]
