"""The real bindings of TensorRT 10.3, 10.16 and 11.4, and of TensorRT-RTX, have all that Cordon uses, with these arguments.

The three run over libraries compiled here that hold nothing but the nine symbols the bindings ask for: names, signatures and
docstrings are NVIDIA's, while every constructor fails as it does on a machine without a GPU.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edge.engines
import edge.inspector.engines
from edge.engines import api

ROOT = Path(__file__).parents[2]
BUILDER, RUNTIME = (Path(room.__file__ or "").parent for room in (edge.engines, edge.inspector.engines))
SOURCES = [*sorted(BUILDER.glob("*.py")), *sorted(RUNTIME.glob("tensorrt*.py"))]
BINDINGS = {"10.3": 10, "10.16": 10, "11.4": 11}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
)

Use = tuple[str, str, list[str]]
"""(dotted name, `type`, `method`, `read`, `set` or `constant`, arguments after self)."""


def uses() -> list[Use]:
    """The table in edge/engines/api.py, flat; read from its source, since Protocol hides __init__ on Python 3.10."""
    classes = {node.name: node for node in ast.parse(Path(api.__file__).read_text()).body if isinstance(node, ast.ClassDef)}
    found: list[Use] = []
    for entry in classes["TensorRT"].body:
        if isinstance(entry, ast.AnnAssign):
            name, kind = ast.unparse(entry.target), ast.unparse(entry.annotation).removeprefix("type[").removesuffix("]")
            found.append((name, "constant" if name.startswith("_") else "type", []))
            found += [(f"{name}.{member}", how, arguments) for member, how, arguments in _members(classes.get(kind))]
    return found


def _members(kind: ast.ClassDef | None) -> Iterator[Use]:
    for node in kind.body if kind is not None else ():
        if isinstance(node, ast.AnnAssign):
            name = ast.unparse(node.target)
            yield name, "constant" if name.isupper() else "set", []
        elif isinstance(node, ast.FunctionDef) and node.decorator_list:
            yield node.name, "read", []
        elif isinstance(node, ast.FunctionDef) and node.name != "__buffer__":
            yield node.name, "method", [argument.arg for argument in node.args.args[1:]]


LOOK = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
trt = importlib.import_module(sys.argv[1])
told = {"__version__": trt.__version__}
for name, how, _ in json.load(sys.stdin):
    if name in told:
        continue
    holder, _, member = name.rpartition(".")
    owner = getattr(trt, holder, None) if holder else trt
    value = getattr(owner, member, None)
    told[name] = None if value is None else {
        "doc": str(value.__doc__), "property": isinstance(value, property), "settable": getattr(value, "fset", None) is not None
    }
json.dump(told, sys.stdout)
"""


def look(module: str, *paths: Path, libraries: Path | None = None) -> dict[str, Any]:
    """What the module says of every use, asked in a process of its own."""
    environment = os.environ | ({"LD_LIBRARY_PATH": str(libraries)} if libraries else {})
    command = [sys.executable, "-c", LOOK, module, *map(str, paths)]
    done = subprocess.run(command, input=json.dumps(uses()), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def disagreements(told: dict[str, Any], without: frozenset[str] = frozenset()) -> list[str]:
    """Every use that the bindings do not have as the table has it, but for those `without`."""
    wrong = []
    for name, how, arguments in uses():
        if name.startswith("__") or name in without:
            continue
        seen = told[name]
        if seen is None:
            wrong.append(f"{name} is not there")
        elif how == "set" and not seen["settable"]:
            wrong.append(f"{name} cannot be set")
        elif how == "read" and not seen["property"]:
            wrong.append(f"{name} is no property")
        elif how == "method" and not any(_accepts(signature, arguments) for signature in signatures(name, seen["doc"])):
            wrong.append(f"{name} does not take {arguments}: {seen['doc'].splitlines()[0]}")
    return wrong


def signatures(name: str, doc: str) -> list[list[tuple[str, bool]]]:
    """The overloads of a docstring by pybind11: for each, (argument, has a default), without self."""
    called = name.rpartition(".")[2] + "("
    lines = [line for line in doc.splitlines() if called in line and "->" in line]
    return [[(part.split(":")[0].strip(), "=" in part) for part in _arguments(line.partition(called)[2])][1:] for line in lines]


def _arguments(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _accepts(signature: list[tuple[str, bool]], arguments: list[str]) -> bool:
    names = [name for name, _ in signature]
    return names[: len(arguments)] == arguments and all(default for _, default in signature[len(arguments) :])


@pytest.fixture(scope="session")
def dummies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libnvinfer, its plugins and the parser, of both majors, all of them empty."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the dummy libraries with")
    folder = tmp_path_factory.mktemp("nvidia")
    source = folder / "dummy.c"
    source.write_text("".join(f"void *{symbol}() {{ return 0; }}\n" for symbol in SYMBOLS))
    for major in sorted(set(BINDINGS.values())):
        for library in LIBRARIES:
            name = f"lib{library}.so.{major}"
            subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)], check=True)
    return folder


def bindings(version: str) -> Path:
    folder = Path(sys.prefix) / "bindings" / version
    if not (folder / "tensorrt_bindings").is_dir():
        pytest.skip(f"no bindings of TensorRT {version} for this machine and Python; ./bootstrap.sh installs what there is")
    return folder


@pytest.mark.parametrize("version", BINDINGS)
def test_tensorrt_has_all_that_is_used_of_it(version: str, dummies: Path) -> None:
    told = look("tensorrt_bindings", bindings(version), libraries=dummies)
    without = api.RTX_ONLY | (api.NOT_IN_10_3 if version == "10.3" else frozenset())
    assert told["__version__"].startswith(version + ".")
    assert disagreements(told, without) == []
    assert not [name for name in without if told[name] is not None]


def test_tensorrt_rtx_has_all_that_is_used_of_it(rtx: Any) -> None:
    told = look(rtx.trt.__name__)
    assert disagreements(told) == []
    # The table has the other overload, which all of them have.
    contexts = signatures("ICudaEngine.create_execution_context", told["ICudaEngine.create_execution_context"]["doc"])
    assert any(_accepts(overload, ["runtime_config"]) for overload in contexts)


def test_a_wrong_name_argument_or_setter_would_be_found(rtx: Any) -> None:
    told = look(rtx.trt.__name__)
    told["OnnxParser.num_errors"] = None
    told["IBuilderConfig.max_aux_streams"]["settable"] = False
    told["Builder.create_network"]["doc"] = "create_network(self: Builder, options: int, flags: int = 0) -> INetworkDefinition"
    assert len(disagreements(told)) == 3


NO_GPU = """
import sys
sys.path[:0] = sys.argv[1:]
from edge.engines import parse_and_build
from edge.engines.backend import load_backend
from edge.errors import EngineError, GpuError
backend = load_backend("tensorrt")
assert backend.targets == () and backend.keeps_timings
features = backend.features
assert not (features.own_graphs or features.runtime_cache or features.engine_validity)
assert features.runtime_config == (not backend.version.startswith("10.3."))
try:
    parse_and_build(b"never parsed", backend="tensorrt")
except EngineError as exc:
    print(exc)
from edge.inspector.engines.tensorrt_load import new_runtime
try:
    new_runtime(backend)
except GpuError as exc:
    print(exc)
"""


@pytest.mark.parametrize("version", BINDINGS)
def test_tensorrt_without_a_gpu_says_so(version: str, dummies: Path) -> None:
    """`Builder()` and `Runtime()` raise a TypeError about a nullptr there."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(dummies)}
    command = [sys.executable, "-c", NO_GPU, str(bindings(version))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert f"tensorrt {version}." in done.stdout
    assert done.stdout.count("found no usable GPU or driver") == 2


LOAD = """
import sys
sys.path[:0] = sys.argv[1:]
from edge.engines.backend import load_backend
from edge.errors import EngineError
try:
    load_backend("tensorrt")
except EngineError as exc:
    print(exc)
"""


def test_bindings_without_their_libraries_are_an_error_with_its_reason() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD, str(bindings("11.4"))], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "tensorrt_bindings is installed but cannot be loaded (seen: libnv" in done.stdout


def chains() -> set[str]:
    """Every `trt.X.Y` and `backend.api.X.Y` in the source, from its first name on."""
    found = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        alias = {
            node.target.id: ast.unparse(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node)
                first, _, rest = text.partition(".")
                text = f"{alias.get(first, first)}.{rest}"
                for start in ("trt.", "backend.api.", "self._backend.api.", "self.backend.trt."):
                    if text.startswith(start):
                        found.add(text.removeprefix(start))
    return found


def test_what_the_source_takes_from_the_module_is_in_the_table() -> None:
    names = {name for name, _, _ in uses()}
    taken = chains()
    assert {"Builder", "ILogger.ERROR", "MemoryPoolType.WORKSPACE", "DataType.UINT8", "IProgressMonitor.__init__"} <= taken
    assert {"TensorFormat.LINEAR", "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE", "ExecutionContextAllocationStrategy.USER_MANAGED"} <= taken
    stray = {name for name in taken if ".".join(name.split(".")[:2]) not in names}
    assert stray == {
        "ComputeCapability.__members__",
        "EngineInvalidityDiagnostics.__members__",
        "EngineInvalidityDiagnostics.__members__.items",
    }


def test_everything_in_the_table_is_used() -> None:
    attributes = {"Any", "TensorRT"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())) if path.name != "api.py" else ():
            if isinstance(node, ast.Attribute):
                attributes.add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                attributes.add(node.name)
    members = {name.rpartition(".")[2] for name, how, _ in uses() if how != "type"}
    assert members - attributes == set()
