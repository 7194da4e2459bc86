"""Higgsfield: pictures by Soul models, with a trained reference (Soul ID) of the character.

1. `HiggsfieldSource` orders pictures; `limner.sources.run` journals, the service never pays twice.
2. `create_soul_id` trains the reference from a folder of pictures, once, and remembers it.
3. Keys come from the environment or the keyring and stand in no file, log or error.
4. Every error of the service becomes advice; what may still come stays pending.
5. The service itself was never called while this was written: see docs/sources.md.
"""

from limner.sources.higgsfield.soul_id import create_soul_id
from limner.sources.higgsfield.source import HiggsfieldSource

__all__ = ["HiggsfieldSource", "create_soul_id"]
