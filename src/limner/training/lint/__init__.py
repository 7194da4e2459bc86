"""`limner check`: what anyone's training setup would really do, before it costs an hour.

1. `check` reads a file or folder, changes nothing, and says every fault with file, line and cure.
2. `reading` turns YAML, JSON, TOML, shell and Markdown into a `Doc` whose every key has its line.
3. `rules` is the one table of faults: severity, source and tag; `findings` collects them.
4. A module a trainer (`aitoolkit`, `musubi`, `simpletuner`) and one for folders (`pictures`) look.
5. `mend` writes the mended file; a mended file that is checked again has no faults left.
"""

from limner.training.lint.checking import check

__all__ = ["check"]
