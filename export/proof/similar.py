"""Feature vectors of the training scans, for `cordon bundle similar`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calib.prepare import Prepared
from edge.bundle_similar import pack_similar
from edge.inspector.engines.openvino import Compiler
from export.network import THREADS, Network


def similar_file(network: Network, training: Prepared, root: Path) -> bytes:
    """The embeddings that the shipped graph gives of the training scans, with their names below `root`. Raises EngineError."""
    data = np.zeros(training.images.shape[2:], np.uint8)
    engine = Compiler(threads=THREADS).compile(network.member, network.shipped, data)
    vectors = []
    for image in training.images:
        data[:] = image[0]
        engine.run()
        assert engine.embedding is not None
        vectors.append(engine.embedding.copy())
    names = [scan.path.relative_to(root).as_posix() for scan in training.scans]
    return pack_similar(names, training.labels, np.stack(vectors).astype(np.float32))
