"""Watching: any run from its plain files, also one that Limner did not start. Nothing is written.

1. `read` finds out what a path is (Limner's run, a folder of ai-toolkit, musubi-tuner or
   SimpleTuner, a console log, loss_log.db, TensorBoard files) and fills one `Seen`.
2. `flags` and `pictures` raise red flags with evidence and one action; `rules` is the table.
3. `Watch(path).look()` is one snapshot as plain values; what could not be looked at is named.
4. Readers know the formats themselves: no TensorBoard, no trainer, no database driver is needed.
5. The terminal view and the HTML page are faces on the same snapshot.
"""

from limner.training.watch.reading import read
from limner.training.watch.rules import RULES
from limner.training.watch.snapshot import Watch, watch

__all__ = ["RULES", "Watch", "read", "watch"]
