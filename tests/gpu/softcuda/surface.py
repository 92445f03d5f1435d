"""Writes what follows from cuda.h alone: stand-ins for functions that the driver lacks, and the table for cuGetProcAddress."""

import re
from pathlib import Path

# functions with several forms: the CUDA version (major * 1000 + minor * 10) from which a driver offers each
SINCE = {
    "cuCtxCreate_v2": 3020,
    "cuCtxCreate_v4": 12050,
    "cuEventElapsedTime": 2000,
    "cuEventElapsedTime_v2": 12080,
    "cuGetProcAddress": 11030,
    "cuGetProcAddress_v2": 12000,
    "cuGraphInstantiateWithFlags": 11040,
    "cuStreamBeginCapture_v2": 10010,
}
# names that are asked for in another form than they are exported
ALSO = {"cuGraphInstantiateWithFlags": ["cuGraphInstantiate"]}
PROFILER = ("cuProfilerInitialize", "cuProfilerStart", "cuProfilerStop")


def implemented(sources: list[Path]) -> list[str]:
    names: list[str] = []
    for source in sources:
        names += re.findall(r"^API (cu\w+)\(", source.read_text(), re.MULTILINE)
    return sorted(names)


def declared(header: str) -> list[str]:
    """Every function that a program can link to after including this header, as the linker sees its name."""
    renamed = dict(re.findall(r"^\s*#\s*define\s+(cu[A-Z]\w*)\s+(cu\w+_v\d+)\s*$", header, re.MULTILINE))
    renamed |= dict(re.findall(r"^\s*#\s*define\s+(cu[A-Z]\w*)\s+__CUDA_API_PT[DS][SZ]\((\w+)\)", header, re.MULTILINE))
    renamed["cuGraphInstantiate"] = "cuGraphInstantiateWithFlags"
    names = set(re.findall(r"^\s*(?:__CUDA_DEPRECATED\s+)?CUresult\s+CUDAAPI\s+(cu\w+)\s*\(", header, re.MULTILINE)) | set(PROFILER)
    return sorted({renamed.get(name, name) for name in names} | names)


def unsupported(header: str, done: list[str]) -> str:
    lines = [
        "/* Written by surface.py: functions of cuda.h that the software driver does not have. */",
        "unsigned soft_unsupported(const char *name);",
    ]
    lines += [
        f'__attribute__((visibility("default"))) unsigned {name}(void) {{ return soft_unsupported("{name}"); }}'
        for name in declared(header)
        if name not in done
    ]
    return "\n".join(lines) + "\n"


def entries(done: list[str]) -> str:
    lines = []
    for name in done:
        base = re.sub(r"_v\d+$", "", name)
        lines += [f"ENTRY({asked}, {SINCE.get(name, 2000)}, {name})" for asked in [base, *ALSO.get(name, [])]]
    return "\n".join(lines) + "\n"
