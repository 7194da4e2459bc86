"""Every number a ComfyUI server is spoken to by.

In: the user's own values (`source.limits`). Out: name -> value.
"""

from __future__ import annotations

from collections.abc import Mapping

from limner.project.rules import Rule

LIMITS: dict[str, Rule] = {
    "connect_s": Rule(15, "starting value", "ours", "seconds to reach the server"),
    "answer_s": Rule(90, "starting value", "ours", "seconds until an answer"),
    "attempts": Rule(5, "starting value", "ours", "times a request is tried"),
    "first_wait_s": Rule(0.5, "starting value", "ours", "seconds before the second try"),
    "longest_wait_s": Rule(20, "starting value", "ours", "seconds between two tries at most"),
    "poll_first_s": Rule(0.5, "starting value", "ours", "first wait for a picture"),
    "poll_longest_s": Rule(5, "starting value", "ours", "longest wait between two looks"),
    "job_s": Rule(1800, "starting value", "ours", "seconds without any progress of a picture"),
    "lost_s": Rule(2, "starting value", "ours", "seconds between the two looks that find no job"),
    "restart_s": Rule(180, "starting value", "ours", "seconds a server that is gone is waited for"),
    "resends": Rule(2, "starting value", "ours", "times a lost job is sent again, with a new id"),
    "file_bytes": Rule(100_000_000, "published", "ComfyUI's upload limit", "largest picture"),
    "reply_bytes": Rule(64_000_000, "starting value", "ours", "largest other answer read"),
}
"""`reply_bytes` is wide: /history and /queue carry the whole graph of every job."""


def values(own: Mapping[str, float] | None = None) -> dict[str, float]:
    """All numbers, the user's own in place of ours; names of other sources' numbers are left."""
    found = {name: rule.value for name, rule in LIMITS.items()}
    found.update({k: float(v) for k, v in (own or {}).items() if k in found})
    return found
