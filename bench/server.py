"""The usual alternative: the same INT8 network behind FastAPI, with no record, no deadline and no session; for comparison only."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import Response
from numpy.typing import NDArray

from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler


def app_for(network: Path, threads: int) -> FastAPI:
    """Two ways to ask: /predict as FastAPI's documentation teaches it, /raw with everything left out that can be.

    /predict takes a file upload (u8 [128, 352] as bytes) in an ordinary function and answers JSON; /raw takes the bytes as body in a
    coroutine, which blocks the event loop while the network runs, and answers float32 bytes.
    """
    member = Member(name="bench", file=network.name, architecture="resnet18", input="heightmap", output="scores", classes=("bad", "good"))
    data = np.zeros((128, 352), np.uint8)
    engine = Compiler(threads=threads).compile(member, network.read_bytes(), data)
    app = FastAPI()

    def judge(body: bytes) -> NDArray[np.float32]:
        data[...] = np.frombuffer(body, np.uint8).reshape(data.shape)
        return engine.run()

    @app.post("/predict")
    def predict(image: UploadFile) -> dict[str, float]:
        return dict(zip(member.classes, judge(image.file.read()).tolist(), strict=True))

    @app.post("/raw")
    async def raw(request: Request) -> Response:
        return Response(judge(await request.body()).tobytes(), media_type="application/octet-stream")

    return app


def main() -> None:
    """`python -m bench.server NETWORK --port N`: serve until terminated."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    config = uvicorn.Config(
        app_for(arguments.network, arguments.threads),
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=3600,
        loop="uvloop",
        http="httptools",
    )
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
