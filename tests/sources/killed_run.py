"""A process that generates in forked children, each of which may be killed: imports are paid once.

In: one JSON object a line on stdin: {"root", "url", "die_at", "source"}; die_at n: SIGKILL before
the n-th durable act of the child, 0: leave it alone. Out: {"pid"} when the child has begun, then
{"signal", "error"} when it has ended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import httpx  # noqa: F401  (loaded before the fork)
import PIL.JpegImagePlugin  # noqa: F401
import stamina  # noqa: F401

from limner.events import collect
from limner.project import Project
from limner.sources import generate

sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))
from zygote import Counter


def child(order: dict[str, object], answer: int) -> None:
    """Generate until done or dead; why it failed goes into the pipe."""
    error = ""
    try:
        Counter(int(str(order["die_at"])), str(order["root"]))
        project = Project.open(Path(str(order["root"])))
        name = str(order.get("source", "higgsfield"))
        collect(generate(project, name=name, base_url=str(order["url"]), max_cost=50))
    except BaseException as problem:
        error = f"{type(problem).__name__}: {problem}"
    os.write(answer, error.encode())
    os._exit(0)


def main() -> None:
    """Serve orders until stdin ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(read)
            child(order, write)
        os.close(write)
        print(json.dumps({"pid": process}), flush=True)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(process, 0)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        print(json.dumps({"signal": number, "error": said}), flush=True)


if __name__ == "__main__":
    main()
