"""One small client for any OpenAI-compatible chat endpoint, text and pictures.

1. `find_endpoint` says where to ask: URL and model from arguments, else from the environment.
2. The key comes only from the environment or the system's keyring, and stands in no text we make.
3. Messages are plain mappings; `system`, `user` and `picture` build them (pictures as data URIs).
4. `Client.body` is the exact request, to be shown; `Client.chat` sends it and gives a `Reply`.
5. Busy or broken endpoints are asked again with growing waits; what stays broken is an
   `EndpointError` that says what to do. Serves rewriting, captioning and yes/no questions.
"""

from limner.llm.client import Client, EndpointError, Reply
from limner.llm.endpoint import LIMITS, Endpoint, find_endpoint
from limner.llm.message import Message, assistant, picture, shown, system, user

__all__ = [
    "LIMITS",
    "Client",
    "Endpoint",
    "EndpointError",
    "Message",
    "Reply",
    "assistant",
    "find_endpoint",
    "picture",
    "shown",
    "system",
    "user",
]
