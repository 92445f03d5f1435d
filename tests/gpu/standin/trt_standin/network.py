"""INetworkDefinition, ITensor and the ONNX parser with its errors."""

from __future__ import annotations

from typing import Any

from trt_standin import graph
from trt_standin.binding import Bound, integer, only, require
from trt_standin.logger import Voice, register
from trt_standin.plan import TensorSpec
from trt_standin.values import Dims


class ITensor(Bound):
    """A network's input or output."""

    __slots__ = ("_spec",)
    _spec: TensorSpec

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def shape(self) -> Dims:
        shape: Dims = self._api.dims(self._spec.shape)
        return shape

    @property
    def dtype(self) -> Any:
        return self._api.enums["DataType"][self._spec.dtype]

    @property
    def is_network_input(self) -> bool:
        return not self._spec.output

    @property
    def is_network_output(self) -> bool:
        return self._spec.output


class INetworkDefinition(Bound):
    """What the parser filled in."""

    __slots__ = ("_builder", "_flags", "_graph", "_parser", "_voice")
    _builder: Any
    _flags: int
    _graph: graph.Graph
    _parser: Any
    _voice: Voice

    @property
    def name(self) -> str:
        return "Unnamed Network 0"

    @property
    def builder(self) -> Any:
        return self._builder

    @property
    def flags(self) -> int:
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(require(flag, self._api.enums["NetworkDefinitionCreationFlag"], "get_flag")) & 1)

    @property
    def num_layers(self) -> int:
        return len(self._graph.layers)

    @property
    def num_inputs(self) -> int:
        return len(self._tensors(output=False))

    @property
    def num_outputs(self) -> int:
        return len(self._tensors(output=True))

    def get_input(self, index: int) -> ITensor | None:
        return self._tensor("input", integer(index, "get_input"))

    def get_output(self, index: int) -> ITensor | None:
        return self._tensor("output", integer(index, "get_output"))

    def _tensors(self, *, output: bool) -> list[TensorSpec]:
        return [spec for spec in self._graph.tensors if spec.output == output]

    def _tensor(self, side: str, index: int) -> ITensor | None:
        specs = self._tensors(output=side == "output")
        if not 0 <= index < len(specs):
            self._voice.error(f"Parameter check failed. Invalid network {side} index: {index}.")
            return None
        tensor: ITensor = self._api.make("ITensor", _spec=specs[index])
        return tensor


class ParserError(Bound):
    """One reason why a graph was not read; everything is a method."""

    __slots__ = ("_error",)
    _error: graph.GraphError

    def code(self) -> Any:
        return self._api.enums["ErrorCode"][self._error.code]

    def desc(self) -> str:
        return str(self._error)

    def node(self) -> int:
        return self._error.node

    def node_name(self) -> str:
        return self._error.name

    def node_operator(self) -> str:
        return self._error.operator

    def func(self) -> str:
        return "parseNode"

    def file(self) -> str:
        return "ModelImporter.cpp"

    def line(self) -> int:
        return 0


class OnnxParser(Bound):
    """Fills one empty network from one file."""

    __slots__ = ("_errors", "_network", "_voice")
    _errors: list[graph.GraphError]

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        require(network, INetworkDefinition, "__init__")
        register(logger, self._api, "createParser")
        self._network, self._errors, self._voice = network, [], Voice(self._api)
        network._parser = self

    def parse(self, model: Any, path: str | None = None) -> bool:
        data = self._api.buffer(model, "parse")
        if self._network._graph is not graph.EMPTY:
            self._voice.error("ModelImporter.cpp: Parse was called with a non-empty network definition")
            return False
        try:
            read = graph.read(data, path)
        except graph.GraphError as exc:
            self._errors.append(exc)
            self._voice.error(f"ModelImporter.cpp: While parsing node number {exc.node} [{exc.operator}]: {exc}")
            return False
        for text in read.warnings:
            self._voice.say("WARNING", text)
        self._network._graph = read
        return True

    def parse_from_file(self, model: str) -> bool:
        with open(require(model, str, "parse_from_file"), "rb") as file:  # noqa: PTH123 -- a Path is refused above, as by the bindings
            return self.parse(file.read(), model)

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        error: ParserError = self._api.make("ParserError", _error=self._errors[integer(index, "get_error")])
        return error

    def clear_errors(self) -> None:
        self._errors.clear()

    def supports_model_v2(self, model: Any, path: str | None = None) -> bool:
        try:
            graph.read(self._api.buffer(model, "supports_model_v2"), path)
        except graph.GraphError:
            return False
        return True

    @only("10.3", "10.16")
    def supports_model(self, model: Any, path: str | None = None) -> tuple[bool, list[tuple[list[int], bool]]]:
        return self.supports_model_v2(model, path), []
