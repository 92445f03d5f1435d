"""The stand-in offers nothing that NVIDIA's bindings of the same version lack: names, arguments, setters and integers are theirs."""

from __future__ import annotations

import enum
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from trt_standin.fronts import VERSIONS
from trt_standin.surface import Settings, Surface

pytestmark = pytest.mark.soft

_SPEC = importlib.util.spec_from_file_location(
    "standin_of_conformance", Path(__file__).parents[1] / "engines" / "test_engine_conformance.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
product: ModuleType = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(product)
dummies = product.dummies

REAL = [("tensorrt", version) for version in VERSIONS["tensorrt"]] + [("tensorrt_rtx", "1.7.1")]
GUARDED = {("10.3.0", "ICudaEngine.create_execution_context")}
"""Takes an argument more than the real one, and refuses it when it is given."""

DUMP = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
trt = importlib.import_module(sys.argv[1])
told = {}
for name in dir(trt):
    kind = getattr(trt, name)
    told[name] = None
    if isinstance(kind, type):
        told[name] = members = {}
        for member in dir(kind):
            value = getattr(kind, member)
            members[member] = {
                "doc": str(value.__doc__),
                "property": isinstance(value, property),
                "settable": getattr(value, "fset", None) is not None,
                "value": int(value) if isinstance(value, kind) else None,
            }
json.dump(told, sys.stdout)
"""


def offered(module: str, version: str) -> dict[str, Any]:
    """The stand-in's public names."""
    return Surface(module, VERSIONS[module][version], version, Settings()).names()


def real(module: str, version: str, libraries: Path) -> dict[str, Any]:
    """What the real bindings have, asked in a process of its own."""
    if module == "tensorrt_rtx":
        pytest.importorskip("tensorrt_rtx_bindings", reason="no TensorRT-RTX wheel for this machine")
        command, environment = ["tensorrt_rtx_bindings"], dict(os.environ)
    else:
        command = ["tensorrt_bindings", str(product.bindings(version.rpartition(".")[0]))]
        environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
    done = subprocess.run([sys.executable, "-c", DUMP, *command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def excesses(names: dict[str, Any], there: dict[str, Any], version: str) -> list[str]:
    """Everything offered that is not there, or not like that."""
    wrong = []
    for name, value in names.items():
        if name not in there:
            wrong.append(f"{name} is not there")
        elif isinstance(value, type) and issubclass(value, enum.Enum):
            wrong += [f"{name}.{m.name} is another integer" for m in value if there[name].get(m.name, {}).get("value") != int(m)]
        elif isinstance(value, type):
            members = (member for member in dir(value) if not member.startswith("_") and hasattr(value, member))
            wrong += [f"{name}.{member}: {why}" for member in members if (why := _excess(name, value, member, there[name], version))]
    return wrong


def _excess(holder: str, kind: type, member: str, there: dict[str, Any], version: str) -> str | None:
    value, seen = getattr(kind, member), there.get(member)
    if seen is None:
        return "not there"
    if isinstance(value, property):
        return None if seen["property"] and (value.fset is None or seen["settable"]) else f"{seen} is no such property"
    if not inspect.isfunction(value) or (version, f"{holder}.{member}") in GUARDED:
        return None
    parameters = list(inspect.signature(value).parameters.values())[1:]
    overloads = [[name for name, _ in overload] for overload in product.signatures(f"{holder}.{member}", seen["doc"])]
    required = [p.name for p in parameters if p.default is p.empty]
    known = {name for names in overloads for name in names}
    fits = any(names[: len(required)] == required for names in overloads) and {p.name for p in parameters} <= known
    return None if fits else f"{[p.name for p in parameters]} against {overloads}"


@pytest.mark.parametrize(("module", "version"), REAL)
def test_the_standin_offers_nothing_that_the_real_one_lacks(module: str, version: str, dummies: Path) -> None:
    there = real(module, version, dummies)
    assert excesses(offered(module, version), there, version) == []


@pytest.mark.parametrize(("module", "version"), REAL)
def test_the_standin_has_what_the_product_uses(module: str, version: str) -> None:
    names = offered(module, version)
    for name, _, _ in product.uses():
        holder, _, member = name.rpartition(".")
        missing = (module == "tensorrt" and name in product.api.RTX_ONLY) or (version == "10.3.0" and name in product.api.NOT_IN_10_3)
        if not missing:
            assert member in names if not holder else hasattr(names[holder], member), name


def test_an_excess_would_be_found(dummies: Path) -> None:
    there = real("tensorrt_rtx", "1.7.1", dummies)
    assert excesses(offered("tensorrt", "10.3.0"), there, "10.3.0") != []
    del there["Runtime"]["engine_header_size"]
    there["IBuilderConfig"]["max_aux_streams"]["settable"] = False
    there["ICudaEngine"]["get_tensor_shape"]["doc"] = "get_tensor_shape(self: ICudaEngine, tensor: str) -> Dims"
    there["DataType"]["UINT8"]["value"] = 6
    found = excesses(offered("tensorrt_rtx", "1.7.1"), there, "1.7.1")
    assert [text.split(":")[0].split(" ")[0] for text in found] == [
        "IBuilderConfig.max_aux_streams",
        "Runtime.engine_header_size",
        "ICudaEngine.get_tensor_shape",
        "DataType.UINT8",
    ]


def test_what_a_version_has_not_raises_an_attribute_error() -> None:
    old, new = offered("tensorrt", "10.3.0"), offered("tensorrt", "11.4.0")
    absent = [(old["ICudaEngine"], "create_runtime_config"), (new["BuilderFlag"], "INT8"), (new["Builder"], "platform_has_fast_int8")]
    absent += [(new["IBuilderConfig"], "num_compute_capabilities"), (new["Runtime"], "get_engine_validity")]
    for holder, name in absent:
        with pytest.raises(AttributeError, match=name):
            getattr(holder, name)
    assert {"IRuntimeCache", "CudaGraphStrategy", "ComputeCapability"} & (set(old) | set(new)) == set()
    assert int(old["NetworkDefinitionCreationFlag"].STRONGLY_TYPED) != int(new["NetworkDefinitionCreationFlag"].STRONGLY_TYPED)
