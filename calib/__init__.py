"""Which images calibrate, and the INT8 ranges: images to a Q/DQ ONNX file."""
