"""advise, release and verify: the last line is JSON, the exit code says how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import release_project as make

from limner.cli import shell as cli


def limner(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = cli.run([str(a) for a in (*args, "--json")])
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_advise_release_and_verify_speak_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIMNER_LLM_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    root = make.build(tmp_path / "iris").root
    code, told = limner(capsys, "-C", root, "advise")
    assert code == 0 and len(told["symptoms"]) == 12
    assert {"found", "insufficient", "versions", "next", "run", "verdict"} <= told.keys()
    code, told = limner(capsys, "-C", root, "advise", "--ask", "Is the dataset consistent?")
    assert code == 0 and told["asked"]["by"] == "rules" and told["asked"]["answer"]
    code, told = limner(capsys, "-C", root, "advise", "--apply", "overfit.nothing")
    assert code == 2 and "overfit.nothing" in told["error"]["what"]
    code, told = limner(capsys, "-C", root, "advise", "--ask", " ")
    assert code == 2 and "empty" in told["error"]["what"]
    written = (root / "character.yaml").read_bytes()
    code, told = limner(capsys, "-C", root, "advise", "--apply", "overfit.steps")
    assert code == 0 and told["symptom"] == "insufficient evidence"  # done, and not for a reason
    (root / "character.yaml").write_bytes(written)
    code, told = limner(capsys, "-C", root, "release", "--no-civitai", "--no-dataset")
    assert code == 0 and told["parts"] == [] and told["path"] == "release/v1"
    bundle = root / "release/v1"
    code, told = limner(capsys, "verify", bundle, "--project", root)
    assert (code, told["findings"]) == (0, [])
    caption = root / "dataset/40_iris_char/img_001.txt"
    caption.write_text("another")
    code, told = limner(capsys, "verify", bundle, "--project", root)
    assert code == 1 and told["findings"][0]["rule"] == "link lock"
    code, told = limner(capsys, "verify", bundle)  # the bundle itself holds
    assert code == 0
    code, told = limner(capsys, "-C", root, "release", "--sign-cert", bundle / "no.pem")
    assert code == 2 and "--sign-key" in told["error"]["what"]
    code, told = limner(capsys, "-C", root, "release", "--push-hf", "nobody")
    assert code == 2 and "OWNER/NAME" in told["error"]["what"]
    assert not (root / "release/v2").exists()  # what stands is sent, not made again
