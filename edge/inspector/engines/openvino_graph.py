"""What OpenVINO must be kept from doing to a graph it has read, because the answers would be other ones."""

from __future__ import annotations

from typing import Any

import numpy as np


def cut_off(model: Any, output: str) -> None:
    """Take the output of this name away, and with it all that is computed for it alone; `model` is changed in place."""
    (result,) = [node for node in model.get_results() if output in node.input_value(0).names]
    model.remove_result(result)
    model.validate_nodes_and_infer_types()


def guard_concats(model: Any, opset: Any) -> None:
    """Put an identity between every Concat and the quantisation of what it joined; `model` is changed in place.

    OpenVINO (seen in 2026.4) moves such a quantisation in front of the Concat and there rounds to whole numbers instead of multiples
    of its scale, without an error: SqueezeNet and GoogLeNet then answer at random. It does not look through a PRelu of slope 1.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and _joined(node.input_value(0).get_node()):
            one = opset.constant(np.ones(1, np.float32))
            node.input(0).replace_source_output(opset.prelu(node.input_value(0), one).output(0))


def _joined(node: Any) -> bool:
    kind: str = node.get_type_name()
    return kind == "Concat" or (kind == "Relu" and _joined(node.input_value(0).get_node()))
