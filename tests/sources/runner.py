"""Starts killed_run.py, lets it generate, and kills that run as told.

In: a project, a service's address, a source. Out: how the run ended. Shared by the kill tests.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


class Runner:
    """Lets the process of killed_run.py generate once, and kills that run as told."""

    def __init__(self) -> None:
        file = Path(__file__).parent / "killed_run.py"
        self.process = subprocess.Popen(
            [sys.executable, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = 0
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def run(
        self, root: Path, url: str, die_at: int = 0, source: str = "higgsfield"
    ) -> dict[str, Any]:
        assert self.process.stdin
        order = {"root": str(root), "url": url, "die_at": die_at, "source": source}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.pid = json.loads(self._read())["pid"]
        found = json.loads(self._read())
        self.pid = 0
        assert isinstance(found, dict)
        return found

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)
