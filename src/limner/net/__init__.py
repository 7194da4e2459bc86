"""HTTP plumbing: connections to one server, with manners, for every client of this house.

1. `Link` is one server: base address, limits, secrets, the words for its errors.
2. `Link.send` is one request read up to a size: an `Answer` of any status, or the link's error.
3. `Link.again(call)` repeats a call while its error says that this may help; Retry-After is kept.
4. `Link.json` and `Link.fetch` are both for the usual case: 2xx, or an error with the words said.
5. No secret stands in any text; no redirect is followed; local servers are asked past proxies.

A client of its own API is a table of limits, an error class and one method a route:

    class ComfyError(NetError): ...
    link = Link("ComfyUI", "http://127.0.0.1:8188", values_of(LIMITS, own, "render.limits"),
                error=ComfyError, fixes={"down": "Start ComfyUI, or correct --comfyui."})
    stats = link.json("GET", "system_stats")                       # asked again while that may help
    made = link.json("POST", "prompt", {"prompt": graph}, once=True)    # never sent twice
    data = link.fetch("view", query={"filename": "a b.png", "type": "output"})
    link.json("POST", "upload/image", files={"image": ("a.png", png, "image/png")})
"""

from limner.net.link import AGAIN, SHOWN, Answer, Link, NetError, Trouble, retry_after
from limner.net.safe import is_local, is_loopback, is_private, redact, without_secrets

__all__ = [
    "AGAIN",
    "SHOWN",
    "Answer",
    "Link",
    "NetError",
    "Trouble",
    "is_local",
    "is_loopback",
    "is_private",
    "redact",
    "retry_after",
    "without_secrets",
]
