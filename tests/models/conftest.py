"""One tiny random base for all tests of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from limner.models import build_random

    return build_random(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def base(random_base: Path) -> Any:
    from limner.models import open_base

    return open_base(str(random_base))
