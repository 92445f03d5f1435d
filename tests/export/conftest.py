"""One workshop and one real export per test session, made when the first test asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from export_workshop import Workshop

    from export.pipeline import Exported


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    from export_workshop import make_workshop  # noqa: PLC0415 - torch and ModelOpt take seconds that most tests need not pay

    return make_workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """What the export said."""
    return []


@pytest.fixture(scope="session")
def exported(workshop: Workshop, lines: list[str]) -> Exported:
    """The one real export most tests look at."""
    from export.pipeline import export_line  # noqa: PLC0415 - as above

    return export_line(workshop.order, workshop.key, say=lines.append)
