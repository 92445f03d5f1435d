"""A network of batch 1 told to take more: one byte of its ONNX file, found without a package for ONNX.

Setting the parsed network's input shape is not enough: by then the parser has turned every Flatten into a Reshape to batch 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge.engines.record import MAX_BATCH

_MODEL_GRAPH, _GRAPH_INPUT, _INPUT_NAME, _DIM_VALUE = 7, 11, 1, 1
_INPUT_TO_DIM = (2, 1, 2, 1)
"""ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape, TensorShapeProto.dim: field numbers of the ONNX format."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
assert MAX_BATCH < 128, "a batch must fit the one byte that the 1 had"

Span = tuple[int, int]


def with_batch(onnx: bytes | memoryview, name: str, batch: int) -> bytes | memoryview:
    """`onnx` with the first dimension of input `name` changed from 1 to `batch`, at most MAX_BATCH.

    Bytes that hold no such input, or another first dimension, come back as they were: the parser and the checks after it
    have the better message.
    """
    if batch == 1:
        return onnx
    data = bytes(onnx)
    try:
        at = _first_dimension(data, name.encode())
    except (ValueError, IndexError):
        return onnx
    return onnx if at is None or data[at] != 1 else data[:at] + bytes([batch]) + data[at + 1 :]


def _first_dimension(data: bytes, name: bytes) -> int | None:
    """Offset of the input's first dimension where it takes a single byte."""
    for graph in _find(data, (0, len(data)), _MODEL_GRAPH):
        for source in _find(data, graph, _GRAPH_INPUT):
            if name not in (data[slice(*span)] for span in _find(data, source, _INPUT_NAME)):
                continue
            span = source
            for field in _INPUT_TO_DIM:
                span = next(_find(data, span, field), (0, 0))
            begin, end = next(_find(data, span, _DIM_VALUE, _VARINT), (0, 0))
            return begin if end - begin == 1 else None
    return None


def _find(data: bytes, span: Span, wanted: int, kind: int = _BYTES) -> Iterator[Span]:
    """Where the values of field `wanted` lie in the message at `span`. Raises ValueError or IndexError for what is no message."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        begin = at
        if wire == _VARINT:
            _, at = _varint(data, at)
        elif wire == _BYTES:
            length, begin = _varint(data, at)
            at = begin + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > end:
            raise ValueError("a field runs past its message")
        if number == wanted and wire == kind:
            yield begin, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
