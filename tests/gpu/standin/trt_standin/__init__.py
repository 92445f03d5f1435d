"""A stand-in for NVIDIA's TensorRT and TensorRT-RTX on the software CUDA driver: real numbers in stream order, and the silent failures.

`tensorrt` and `tensorrt_rtx` beside this package are thin fronts over it. Their versions come from STANDIN_TRT_VERSION and
STANDIN_RTX_VERSION, faults from STANDIN_FAULT ("execute:after=20,slow:value=5"), and a process writes its `report()` as JSON to
STANDIN_REPORT when it ends. Within one process `configure`, `fail`, `reset` and `report` do the same.
"""

from trt_standin.faults import FAULTS, fail
from trt_standin.fronts import configure, publish
from trt_standin.reporting import Report, report, reset

__all__ = ["FAULTS", "Report", "configure", "fail", "publish", "report", "reset"]
