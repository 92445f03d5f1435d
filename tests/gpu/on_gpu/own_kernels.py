"""heightmap.cu compiled by this machine's nvcc for this machine's GPU, with the index that makes it look like shipped kernels."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import msgspec

from edge.inspector.cuda.device import Device
from edge.inspector.heightmap.cuda_kernels import Binary, Index, source_sha256
from edge.inspector.heightmap.kernels.build import BuildError, compile_with_nvcc, nvcc_version


def main() -> int:
    """Writes into a folder what `Kernels` loads; 1 when nvcc does not compile it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("nvcc")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    device = Device()
    arch = "sm_{}{}".format(*device.compute_capability)
    device.close()
    try:
        data, report = compile_with_nvcc(arguments.nvcc, arch)
    except BuildError as exc:
        print(exc)
        return 1
    print(report)
    name = f"own_{arch}.cubin"
    (arguments.folder / name).write_bytes(data)
    binary = Binary(file=name, arch=arch, toolkit=nvcc_version(arguments.nvcc), sha256=hashlib.sha256(data).hexdigest())
    index = Index(source_sha256=source_sha256(), binaries=(binary,))
    (arguments.folder / "index.json").write_bytes(msgspec.json.encode(index))
    return 0


if __name__ == "__main__":
    sys.exit(main())
