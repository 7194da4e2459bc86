"""Dataset: the folder a trainer reads, and the lock that proves what is in it.

1. `build` copies kept takes and captions into a numbered version; finished versions never change.
2. References are held out before training, by yaw bin and by hash: the same takes, the same split.
3. `limner.lock.json` holds SHA-256 of every picture and caption, and all that made them.
4. `verify_lock` says what changed since, `check` adds what a trainer would stumble over.
5. Version 1 lies in `dataset/` as the guide lays it out, later ones in `dataset/v2/` and so on.
"""

from limner.dataset.lock import verify_lock
from limner.dataset.stage import build, check

__all__ = ["build", "check", "verify_lock"]
