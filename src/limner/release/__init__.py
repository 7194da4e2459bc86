"""Release: the report anyone can open, and the bundle that can prove where it came from.

1. `report` tells a project's story at any stage in one HTML file: no network, no script.
2. `release` bundles the chosen LoRA with guide, card, workflow, kit, report, samples and a receipt;
   `push` sends it to the hub.
3. The receipt chains hashes: lock -> plan -> run -> checkpoint -> verdict -> bundle.
4. `archive` puts a whole project into one .limner.zip; equal projects give equal bytes.
5. `verify` reads any of them again and names the first link that does not hold.
"""

from limner.release.archiving import archive
from limner.release.bundle import release
from limner.release.hub import push
from limner.release.page import report
from limner.release.picking import Pick, standing
from limner.release.signing import Signature
from limner.release.verifying import verify

__all__ = ["Pick", "Signature", "archive", "push", "release", "report", "standing", "verify"]
