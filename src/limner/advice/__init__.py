"""Advice: what is wrong with this LoRA, on what evidence, and what to change first.

1. `Records` reads the project once; other stages hand over what they found (captions, comparisons).
2. A question puts one number to one rule: yes, no, or "the records cannot say" with the way out.
3. A symptom is a few questions; enough yeses are a diagnosis, and no answer is no diagnosis.
4. Remedies are a table, cheapest first; each comes with the size of the change and a command.
5. `answer` lets a language model speak about these facts and the manual only, or the rules do.
"""

from limner.advice.asking import answer
from limner.advice.stage import advise, apply

__all__ = ["advise", "answer", "apply"]
