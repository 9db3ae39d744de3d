"""Serves any subset of a network's categories: all weights stay loaded, few branches run.

    python examples/server.py                            # the preset imagenette_small
    python examples/server.py runs/photos/best.keras --port 8080

    curl localhost:8000/categories
    curl --data-binary @image.jpg 'localhost:8000/predict?category=church&category=golf%20ball'

Requests that wait at the same time are one batch, in which each image has its own categories. What
batches need is compiled before the first request. Needs the extra `server`. It has no access
control: only this machine can reach it, unless --host names another address.
examples/server_load.py sends many requests and checks the answers.
"""

import argparse
import asyncio
import collections
import contextlib
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.presets.sources import load_source

MOST_BYTES = 10 * 2**20  # of an encoded image
MOST_WAITING = 256  # requests; more are refused


class Batches:
    """Answers requests in batches: of those that wait when the last batch is done."""

    def __init__(self, predictor: sp.SubsetPredictor, most: int):
        self.predictor, self.most = predictor, most
        self.waiting: collections.deque = collections.deque()
        self.worker = ThreadPoolExecutor(1)

    def ask(self, image: np.ndarray, names: tuple[str, ...]) -> Future:
        """The scores, once they are known."""
        answer: Future = Future()
        self.waiting.append((image, names, answer))
        self.worker.submit(self.answer_next)
        return answer

    def answer_next(self) -> None:
        """Answers what waits; often nothing, as an earlier batch took it along."""
        asked = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.most))]
        asked = [each for each in asked if each[2].set_running_or_notify_cancel()]
        if not asked:
            return
        images, names, answers = zip(*asked, strict=True)
        try:
            found = self.predictor.predict(np.stack(images), names)
        except Exception as error:
            for answer in answers:
                answer.set_exception(error)
        else:
            for answer, scores in zip(answers, found, strict=True):
                answer.set_result(scores)

    def warm_up(self, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
        """Compiles what batches of any size need, where no category has a superclass."""
        for count in sizes(self.most):
            for asked in sizes(len(names)):
                images = np.zeros((count, *shape), "float32")
                self.predictor.predict(images, [names[:asked]] * count)


def sizes(most: int) -> list[int]:
    """Powers of two below a number, and the number."""
    return [*(1 << i for i in range(most.bit_length()) if 1 << i < most), most]


def make_app(network: keras.Model, *, most: int = 8) -> FastAPI:
    """The server of a network.

    Args:
        network: takes square images with values from 0 to 255.
        most: largest number of images in a batch, a power of two.
    """
    fused = network if find_parts(network, allow_plain=True).banks else sp.fuse(network)
    hierarchy = find_parts(fused, allow_plain=True).hierarchy
    batches = Batches(sp.SubsetPredictor(fused), most)
    shape = fused.inputs[0].shape[1:]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI):
        await run_in_threadpool(batches.warm_up, hierarchy.category_ids, shape)
        yield
        batches.worker.shutdown()

    # Its pages of documentation would load scripts from another host.
    app = FastAPI(title="Subsets of categories", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.get("/categories")
    def categories() -> dict[str, list[str]]:
        """The names that a request may ask for."""
        above = [node.label for node in hierarchy.superclasses]
        return {"categories": list(hierarchy.categories), "superclasses": above}

    @app.post("/predict")
    async def predict(request: Request, category: Annotated[list[str], Query()]):
        """Scores of the image that is the body, over the categories that are named alone."""
        try:
            kept = hierarchy.prune(category)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                raise HTTPException(413, f"The image has more than {MOST_BYTES:,} bytes.")
        try:
            image = await run_in_threadpool(data.decode, content, shape[0])
        except (OSError, ValueError) as error:
            raise HTTPException(400, f"The body is no readable image: {error}") from error
        if len(batches.waiting) >= MOST_WAITING:
            raise HTTPException(503, f"{MOST_WAITING} requests are waiting. Try again later.")
        scores = await asyncio.wrap_future(batches.ask(image, kept.category_ids))
        return {"scores": dict(zip(kept.categories, map(float, scores), strict=True))}

    return app


def main() -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", nargs="?", default="preset:imagenette_small")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=8, help="largest batch, a power of two")
    args = parser.parse_args()
    uvicorn.run(
        make_app(load_source(args.network), most=args.batch),
        host=args.host,
        port=args.port,
        log_level="warning",
    )


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
