from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch

from nets.architectures import ARCHITECTURES, CLASSIFIERS, build, kind_of

TEXT = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
ROW = re.compile(r"^\| `(\S+)` \|.*\| (\w+) \| \D*(\d+)[^|]* \| ([\d.]+) \|$", re.MULTILINE)
ROWS = {name: (kind, int(smallest), float(weights)) for name, kind, smallest, weights in ROW.findall(TEXT)}


def test_the_table_has_every_network_once_and_no_other() -> None:
    assert set(ROWS) == {name for name in ARCHITECTURES if not name.startswith("fastai/")}
    assert {name.removeprefix("fastai/") for name in CLASSIFIERS if name.startswith("fastai/")} <= set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_of_the_table_is_true(name: str) -> None:
    kind, smallest, millions = ROWS[name]
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # initialising tensors without memory does nothing, as torch says
        weights = sum(weight.numel() for weight in build(name, 2).parameters())
        image = torch.zeros(2, 3, smallest, smallest)
        answer = build(name, 2, size=(smallest, smallest)).eval()(*[image] * (2 if kind == "siamese" else 1))
    assert (kind, millions) == (kind_of(name), round(weights / 1e6, 1))
    assert answer.shape == ((2, 1, smallest, smallest) if kind == "autoencoder" else (2, 2))
