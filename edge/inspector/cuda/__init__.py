"""The one place that talks to CUDA: device, memory, streams, graphs, and what its errors mean."""
