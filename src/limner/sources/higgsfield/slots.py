"""How many orders of ours the service works on at once, learned from its refusals.

The service allows some number of orders per account and model (4 to begin with) and answers 400
above it, in words that change; so a refusal with other orders of ours under way lowers our number.
"""

from __future__ import annotations

import threading
import time

from limner.sources.source import LaterError


class Slots:
    """Counts orders under way. `patience`: seconds a waiting order waits at most."""

    def __init__(self, limit: int, stopped: threading.Event, patience: float) -> None:
        self.limit = limit
        self.used = 0
        self._stopped = stopped
        self._patience = patience
        self._changed = threading.Condition()

    def enter(self, *, already: bool = False) -> None:
        """Take a slot. already: the order is under way since an earlier run, slot or not.

        Raises LaterError when stopped, or when no slot came free in time.
        """
        end = time.monotonic() + self._patience
        with self._changed:
            while not already and self.used >= self.limit:
                self._changed.wait(0.1)
                if self._stopped.is_set() or time.monotonic() > end:
                    raise LaterError(
                        "No slot came free at the service",
                        fix="Run the same command again; it goes on with this order.",
                    )
            self.used += 1

    def leave(self) -> None:
        """Give a slot back."""
        with self._changed:
            self.used -= 1
            self._changed.notify_all()

    def refused(self) -> int:
        """Give the slot of a refused order back; returns how many others of ours are under way."""
        with self._changed:
            self.used -= 1
            if self.used:  # refused with none of ours under way: somebody else fills the account
                self.limit = max(1, min(self.limit, self.used))
            self._changed.notify_all()
            return self.used
