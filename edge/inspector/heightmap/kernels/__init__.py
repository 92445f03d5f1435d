"""The CUDA kernels: their source (heightmap.cu beside this folder, *.cuh here) and the binaries built from it."""
