"""The shared project of the release tests."""

from __future__ import annotations

import pytest
import release_project as make

from limner.project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A whole project, shared by tests that only read it."""
    return make.build(tmp_path_factory.mktemp("finished") / "iris")
