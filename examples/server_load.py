"""Sends requests of mixed subsets to examples/server.py at a fixed rate, and checks every answer.

    python examples/server.py &
    python examples/server_load.py --rate 50 --requests 10000

Each request asks for some categories, drawn at random, of one of 20 images of noise. The right
scores are computed from the logits of the whole network, which is loaded here too. Milliseconds
count from when a request was due, also if it was sent late.
"""

import argparse
import http.client
import io
import json
import os
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from PIL import Image

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.presets.sources import load_source

TOLERANCE = 1e-4


def load(
    send: Callable[[bytes, list[str]], dict[str, float]],
    network: keras.Model,
    *,
    requests: int,
    rate: float,
    threads: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Sends requests, and compares the answers.

    Args:
        send: gives the scores of an encoded image and categories; it is called in many threads.
        network: a flat network with a softmax, as the server has it.
        requests: number of requests.
        rate: requests per second.
        threads: most requests at the same time.
        seed: of images and subsets.

    Returns:
        Numbers of wrong answers and of failed requests, requests per second, and percentiles of
        milliseconds.
    """
    draw = np.random.default_rng(seed)
    images = [png(draw.integers(0, 256, (12, 16, 3), "uint8")) for _ in range(20)]
    pixels = np.stack([data.decode(image, network.input_shape[1]) for image in images])
    logits = sp.with_activation(network, None).predict_on_batch(pixels.astype("float32"))
    names = network.get_layer("categories").hierarchy.categories
    asked = []
    for _ in range(requests):
        columns = draw.permutation(len(names))[: draw.integers(1, len(names) + 1)]
        asked.append((draw.integers(len(images)), columns))
    wrong, failed, times = [], [], []
    start = time.perf_counter()

    def ask(i: int) -> None:
        due = start + i / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        image, columns = asked[i]
        wanted = [names[column] for column in columns]
        try:
            scores = send(images[image], wanted)
        except Exception as error:
            failed.append(error)
            return
        times.append(1e3 * (time.perf_counter() - due))
        expected = np.exp(logits[image, columns] - logits[image, columns].max())
        expected /= expected.sum()
        same = list(scores) == wanted
        if not same or np.abs(np.array([*scores.values()]) - expected).max() > TOLERANCE:
            wrong.append(i)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(requests)))
    seconds = time.perf_counter() - start
    if failed:
        print(f"The first failure: {failed[0]}", file=sys.stderr)
    found = {"wrong": len(wrong), "failed": len(failed), "requests per second": requests / seconds}
    for percent in (50, 95, 99):
        found[f"ms, {percent} %"] = float(np.percentile(times, percent)) if times else np.nan
    return found


def png(pixels: np.ndarray) -> bytes:
    """An encoded image."""
    content = io.BytesIO()
    Image.fromarray(pixels).resize((128, 96), Image.Resampling.BICUBIC).save(content, "png")
    return content.getvalue()


def sender(host: str, port: int) -> Callable[[bytes, list[str]], dict[str, float]]:
    """Sends requests over one connection per thread."""
    mine = threading.local()

    def send(image: bytes, names: list[str]) -> dict[str, float]:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(host, port, timeout=60)
        query = urllib.parse.urlencode({"category": names}, doseq=True)
        mine.connection.request("POST", f"/predict?{query}", image)
        answer = mine.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {content.decode()}")
        return json.loads(content)["scores"]

    return send


def main() -> int:
    """Sends, prints; the exit code is 1 after a wrong or failed answer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", nargs="?", default="preset:imagenette_small")
    parser.add_argument("--host", default="127.0.0.1", help="address of the server")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50, help="requests per second")
    args = parser.parse_args()
    found = load(
        sender(args.host, args.port),
        load_source(args.network),
        requests=args.requests,
        rate=args.rate,
    )
    for name, value in found.items():
        print(f"{name}: {value:.5g}")
    return int(found["wrong"] + found["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
