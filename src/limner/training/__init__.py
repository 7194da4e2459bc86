"""Training: from a dataset and a base to LoRA checkpoints, by a trainer that goes on bit for bit.

1. `plan` is the one arithmetic: steps, passes, checkpoints, memory, seconds; nothing starts here.
2. `train` follows the newest plan: it encodes pictures and captions once, frees the encoders,
   and makes one AdamW update a step on flow matching (`flow`), through `limner.models.Base` only.
3. Noise, order and dropout are functions of (seed, step) (`order`), so a state is weights and
   moments alone; kill it anywhere, run it again, and the final file has the same tensor bytes.
4. A run's `RunConfig` holds all that its weights depend on; another record is another run.
5. Checkpoints lie in models/run_<n>/, measures in logs/run_<n>/metrics.jsonl and TensorBoard.
"""

from limner.training.planning import plan
from limner.training.run import train

__all__ = ["plan", "train"]
