"""One workshop and one real export per test session."""

import pytest
from export_workshop import Workshop, make_workshop

from export.pipeline import Exported, export_line


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """What the export said."""
    return []


@pytest.fixture(scope="session")
def exported(workshop: Workshop, lines: list[str]) -> Exported:
    """The one real export most tests look at."""
    return export_line(workshop.order, workshop.key, say=lines.append)
