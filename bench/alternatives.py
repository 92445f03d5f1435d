"""What the line is compared with: fastai's own prediction call, and the same INT8 network behind a web framework."""

from __future__ import annotations

import http
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SimulationError

Image = NDArray[np.uint8]


def fastai_predict(image: Image) -> Callable[[], object]:
    """`learn.predict` of a ResNet18 (FP32, random weights: speed does not depend on them) on one 128 x 352 image in memory.

    The transforms are the thesis's: letterbox with zeros, normalise.
    """
    from fastai.vision.all import (  # noqa: PLC0415
        ImageDataLoaders,
        Normalize,
        PadMode,
        PILImage,
        Resize,
        ResizeMethod,
        imagenet_stats,
        resnet18,
        vision_learner,
    )

    with tempfile.TemporaryDirectory() as folder:
        for label in ("bad", "good"):
            (Path(folder) / label).mkdir()
            for number in range(8):
                cv2.imwrite(f"{folder}/{label}/{number}.png", image)
        loaders = ImageDataLoaders.from_folder(
            folder,
            valid_pct=0.5,
            seed=42,
            bs=4,
            num_workers=0,
            device="cpu",
            item_tfms=Resize(image.shape, method=ResizeMethod.Pad, pad_mode=PadMode.Zeros),
            batch_tfms=Normalize.from_stats(*imagenet_stats),
        )
        learner = vision_learner(loaders, resnet18, pretrained=False)
    learner.model.eval()
    picture = PILImage.create(np.repeat(image[..., None], 3, axis=2))

    def predict() -> object:
        with learner.no_bar():
            return learner.predict(picture)

    return predict


class FastApi:
    """The web server as a process of its own and one kept-alive connection to it over loopback."""

    def __init__(self, network: Path, threads: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "bench.server", str(network), "--port", str(port), "--threads", str(threads)]
        self.process = subprocess.Popen(command)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        self._connect(until_s=time.monotonic() + 60)

    def _connect(self, until_s: float) -> None:
        while True:
            try:
                self.connection.connect()
            except OSError as exc:
                if time.monotonic() > until_s or self.process.poll() is not None:
                    raise SimulationError(
                        "the FastAPI server did not start", seen=exc, remedy="Run python -m bench.server by hand"
                    ) from exc
                time.sleep(0.05)
            else:
                assert self.connection.sock is not None
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return

    def predict(self, image: Image) -> Callable[[], object]:
        """One request as a browser or a script sends it: the image as a file upload, JSON back."""
        boundary = "cordon-bench"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="scan"\r\n\r\n'
        body = head.encode() + image.tobytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return lambda: json.loads(self._post("/predict", body, headers))

    def raw(self, image: Image) -> Callable[[], object]:
        """One request with nothing but the bytes: u8 image as body, float32 probabilities back."""
        body = image.tobytes()
        return lambda: self._post("/raw", body, {})

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        self.connection.request("POST", path, body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != http.HTTPStatus.OK:
            raise SimulationError("the FastAPI server refused a request", seen=answer[:200], remedy="Run python -m bench.server by hand")
        return answer

    def close(self) -> None:
        """End the server."""
        self.connection.close()
        self.process.terminate()
        self.process.wait(timeout=10)
