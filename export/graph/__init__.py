"""From a network to one ONNX graph, from the heightmap's bytes to probabilities."""
