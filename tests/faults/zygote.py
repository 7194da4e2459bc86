"""A process that runs each asked-for stage in a forked child, and can kill that child mid-way.

In: one JSON object a line on stdin: {"root", "stage", "die_at"}. Out: one JSON object a line:
{"signal", "acts", "error"}. A durable act is a statement that SQLite runs, a file opened for
writing, a rename, a removal: what a crash can come between. `die_at` n: SIGKILL before act n;
0: run undisturbed and count. Imports are paid once, here, not by every child.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

FILE_ACTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.move"}


class Counter:
    """Counts durable acts of this process and kills it before act `die_at`."""

    def __init__(self, die_at: int, root: str) -> None:
        self.acts, self.die_at, self.root = 0, die_at, root
        self.process = os.getpid()
        self._connect = sqlite3.connect
        sqlite3.connect = self.connect  # type: ignore[assignment]
        sys.addaudithook(self.hook)

    def connect(self, *args: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*args, **named)
        connection.set_trace_callback(self.act)
        return connection

    def act(self, *_: object) -> None:
        if os.getpid() != self.process:  # a worker of the stage lives on its own
            return
        self.acts += 1
        if self.acts == self.die_at:
            os.kill(self.process, signal.SIGKILL)

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event in FILE_ACTS or (event == "open" and self._writes(args)):
            self.act()

    def _writes(self, args: tuple[Any, ...]) -> bool:
        path, mode, flags = args
        writes = (mode and set(mode) & set("wax+")) or (flags and flags & (os.O_WRONLY | os.O_RDWR))
        return bool(writes) and isinstance(path, str | os.PathLike) and self.root in str(path)


def child(order: dict[str, Any], answer: int) -> None:
    """Run one stage to its end and write what happened to the pipe `answer`."""
    counter = Counter(order["die_at"], order["root"])
    error = None
    try:
        from stages_under_fault import run_stage

        run_stage(order["stage"], Path(order["root"]))
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    os.write(answer, json.dumps({"acts": counter.acts, "error": error}).encode())
    os._exit(0)


def main() -> None:
    """Serve orders until stdin ends."""
    sys.path.insert(0, str(Path(__file__).parent))
    for name in sys.argv[1:]:  # a module, or module:function to call
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(read)
            child(order, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(process, 0)
        found = json.loads(said) if said else {"acts": None, "error": None}
        found["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
