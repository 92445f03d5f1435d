"""Why Jetson's DLA cores are refused, in the same words wherever a device is chosen."""

from __future__ import annotations

GPU = "gpu"
"""The only device that engines are built for and run on."""
DLA_REFUSED = (
    "Use gpu: for INT8 on its DLA cores TensorRT 10 wants a calibration table in place of the network that was proved, and has no DLA "
    "after 10.7; TensorRT 11.4.1 brings DLA back on AGX Orin for FP16"
)
"""The remedy of the refusal; docs/jetson.md says more."""
