"""The usual alternative: the same INT8 network behind FastAPI, with no records, no deadline and no session; for comparison only."""

from __future__ import annotations

import argparse
import asyncio
import gc
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler


def app_for(network: Path, threads: int) -> FastAPI:
    """POST /judge with the heightmap's bytes as body returns the probabilities as float32 bytes."""
    member = Member(name="bench", file=network.name, architecture="resnet18", input="heightmap", output="scores", classes=("bad", "good"))
    data = np.zeros((128, 352), np.uint8)
    engine = Compiler(threads=threads).compile(member, network.read_bytes(), data)
    app = FastAPI()

    @app.post("/judge")
    async def judge(request: Request) -> Response:
        body = await request.body()
        data[...] = np.frombuffer(body, np.uint8).reshape(data.shape)
        return Response(engine.run().tobytes(), media_type="application/octet-stream")

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
        loop="uvloop",
        http="httptools",
    )
    gc.collect()
    gc.freeze()
    gc.disable()
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
