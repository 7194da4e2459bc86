"""A service that asks for patience gets it; its correlation id stands with the error."""

from __future__ import annotations

import time

import pytest

from fakes.chat import ChatServer, Fault
from limner.project.rules import values_of
from limner.sources.wire import LIMITS, Wire, WireError

SLOW = {"Retry-After": "0.25", "X-Correlation-ID": "abc-1"}


def test_retry_after_is_kept_and_a_refusal_can_be_asked_about() -> None:
    own = {"first_wait_s": 0.001, "longest_wait_s": 5, "attempts": 2}
    with ChatServer(faults=[Fault(429, headers=SLOW)]) as server:
        wire = Wire(server.url, values_of(LIMITS, own, "source.limits"), ("hush-77",), "Somebody")
        start = time.monotonic()
        assert wire.ask("GET", "models", headers={}).data["data"]
        assert time.monotonic() - start > 0.24
        server.faults = [Fault(423, "hush-77 is blocked", headers=SLOW)]
        with pytest.raises(WireError, match="Somebody answered 423 to models: <key> is") as told:
            wire.ask("GET", "models", headers={})
        assert told.value.correlation == "abc-1" and told.value.status == 423
        wire.close()
