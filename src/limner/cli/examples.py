"""An example or two of each command, as a person would type it.

In: nothing. Out: a table that `--help`, wrong use and docs/cli.md read; a test parses each line.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "new": (
        "limner new grace --trigger grace_char --class-word woman --likeness synthetic",
        "limner new ada --trigger ada_person --class-word woman --likeness consented_person "
        "--consent-evidence contracts/ada.pdf --consent-date 2026-03-01",
    ),
    "status": ("limner -C grace status",),
    "doctor": ("limner doctor", "limner -C grace doctor --fetch --dry-run"),
    "demo": ("limner demo --keep demo",),
    "shots plan": (
        "limner -C grace shots plan",
        "limner shots plan --count 40 --quota angle:front=50,side=20 --genre studio",
    ),
    "shots check": ("limner -C grace shots check", "limner shots check prompts.txt"),
    "shots import": ("limner -C grace shots import prompts.txt --fill",),
    "shots export": ("limner -C grace shots export --kind csv --out shots.csv",),
    "shots rewrite": ("limner -C grace shots rewrite --show",),
    "shots replan": ("limner -C grace shots replan shot_003 shot_017",),
    "soul-id create": ("limner -C grace soul-id create portraits",),
    "generate": (
        "limner -C grace generate --limit 5",
        "limner -C grace generate --with higgsfield --max-cost 5 --dry-run",
    ),
    "inbox": ("limner -C grace inbox downloads --dry-run",),
    "atelier sheet": ("limner atelier sheet --out sheet.png --characters 4",),
    "review": ("limner -C grace review", "limner review pictures --kind photo"),
    "keep": ('limner -C grace keep shot_012 --reason "the smile is right"',),
    "reject": ('limner -C grace reject 12 18 --reason "wrong hands"',),
    "undo": ("limner -C grace undo shot_012",),
    "captions compile": (
        "limner -C grace captions compile",
        'limner captions compile "portrait of grace_char in a park" --trigger grace_char',
    ),
    "captions trigger": ("limner captions trigger grace_char",),
    "captions describe": ("limner -C grace captions describe --check",),
    "captions check": (
        "limner -C grace captions check --page captions.html",
        "limner captions check folder --trigger grace_char",
    ),
    "captions fix": ("limner -C grace captions fix --rule camera --apply",),
    "captions edit": ("limner -C grace captions edit --find cosy --replace warm --plain --apply",),
    "captions undo": ("limner -C grace captions undo 3",),
    "captions history": ("limner -C grace captions history img_003.txt",),
    "captions waive": ('limner -C grace captions waive --id 1a2b3c4d --reason "a prop"',),
    "dataset build": ("limner -C grace dataset build",),
    "dataset check": ("limner -C grace dataset check",),
    "dataset export": ("limner -C grace dataset export --for ai-toolkit",),
    "dataset import": ("limner -C grace dataset import edited.zip --dry-run",),
    "plan": ("limner -C grace plan --explain", "limner plan --images 40 --repeats 10 --epochs 10"),
    "train": (
        "limner -C grace train",
        "limner -C grace train --stop",
        "limner -C grace train --take output/grace_lora",
    ),
    "watch": ("limner watch grace --html watch.html", "limner watch output/my_lora --once"),
    "check": ("limner check config.yaml --fixed mended.yaml",),
    "lora info": ("limner lora info grace.safetensors",),
    "lora check": ("limner lora check grace.safetensors",),
    "lora convert": ("limner lora convert grace.safetensors --to comfyui",),
    "evaluate": ("limner -C grace evaluate --dry-run", "limner -C grace evaluate --race"),
    "verdict": ("limner -C grace verdict",),
    "report": ("limner -C grace report --out grace.html",),
    "advise": (
        "limner -C grace advise",
        'limner -C grace advise --ask "why is the face soft?"',
    ),
    "release": ("limner -C grace release",),
    "archive": ("limner -C grace archive --out grace.limner.zip",),
    "verify": ("limner verify grace.limner.zip",),
}
"""Command -> lines to paste."""
