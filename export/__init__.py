"""Trained network to ONNX, INT8, proof and signed bundle."""
