"""The child process of the atelier source: draws what it is told until its input ends.

In (lines of JSON on stdin): first {identity}, then requests. Out (stdout): one answer a request,
{png, width, height, labels} or {error}. Run as `python -m limner.sources.worker`.
"""

from __future__ import annotations

import base64
import json
import sys

from limner.atelier import Character, Identity
from limner.errors import LimnerError
from limner.sources.atelier import draw
from limner.sources.source import Request


def main() -> None:
    """Serve until stdin ends, which it also does when the parent is killed."""
    character = Character(Identity.from_dict(json.loads(sys.stdin.readline())["identity"]))
    for line in sys.stdin:
        try:
            picture = draw(character, Request(**json.loads(line)))
            answer = {
                "png": base64.b64encode(picture.data).decode(),
                "width": picture.width,
                "height": picture.height,
                "labels": picture.labels,
            }
        except LimnerError as error:
            answer = {"error": str(error)}
        except Exception as error:  # a fault in drawing fails one take, not the whole run
            answer = {"error": f"drawing failed: {type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
