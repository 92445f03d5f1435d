"""Trained networks from every kind of file, each as one thing that can run and be written as ONNX."""
