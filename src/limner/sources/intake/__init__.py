"""The inbox: pictures made elsewhere, matched to shots and taken after a look.

1. `opening` reads a folder or zip without trusting it; nothing is unpacked to disk.
2. `matching` places pictures by embedded prompt, name, what they show (`looks` of a picture held
   against what a shot has `wanted`), or order; what is not sure is said, not guessed.
3. `inbox` shows the match (`dry_run`) or takes it; what was dropped in stays as it is.
4. What is taken is plain: upright, sRGB, 8 bits, opaque, without private notes.
5. `realism` takes real bodies for the second folder, only with licence and consent.
"""

from limner.sources.intake.bodies import realism
from limner.sources.intake.matching import WAYS
from limner.sources.intake.stage import inbox

__all__ = ["WAYS", "inbox", "realism"]
