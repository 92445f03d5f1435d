from collections.abc import Callable
from pathlib import Path

import pytest

from faults.line.images import archive_small, archive_unusable
from faults.registry import Effort, Result

pytestmark = pytest.mark.nightly


@pytest.mark.parametrize("injector", [archive_unusable, archive_small])
def test_an_archive_that_is_full_or_no_folder_costs_images_and_no_verdict(injector: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = injector(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result
