"""The server of examples/, without a network between: its answers, its batches, its errors."""

import importlib.util
import pathlib
import threading

import numpy as np
import pytest

from tests import harness

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("PIL.Image")

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


def imported(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server():
    return imported("server")


@pytest.fixture(scope="module")
def load():
    return imported("server_load")


@pytest.fixture(scope="module")
def client(server):
    import tensorflow as tf
    from fastapi.testclient import TestClient

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # what forms compute is tested elsewhere
    with TestClient(server.make_app(harness.network(), most=4)) as client:
        yield client
    tf.config.run_functions_eagerly(before)


def test_fifty_requests_of_mixed_subsets_have_right_answers(client, load):
    def send(image, names):
        answer = client.post("/predict", params={"category": names}, content=image)
        assert answer.status_code == 200, answer.text
        return answer.json()["scores"]

    found = load.load(send, harness.network(), requests=50, rate=1e3, threads=8)
    assert (found["wrong"], found["failed"]) == (0, 0)

    def wrong(image, names):
        return {name: 1.01 * score for name, score in send(image, names).items()}

    def broken(image, names):
        raise OSError("the cable was pulled")

    assert load.load(wrong, harness.network(), requests=3, rate=1e3)["wrong"] == 3
    assert load.load(broken, harness.network(), requests=3, rate=1e3)["failed"] == 3


def test_what_waits_together_is_one_batch(server):
    seen = []

    class Recorded:
        def predict(self, images, names):
            seen.append(len(images))
            if ("nothing",) in names:
                raise ValueError("nothing is no category")
            return [np.arange(len(each)) for each in names]

    batches, go = server.Batches(Recorded(), 4), threading.Event()
    batches.worker.submit(go.wait)
    image = np.zeros((4, 4, 3))
    answers = [batches.ask(image, ("tench",) * count) for count in (1, 2, 3, 1, 2, 3)]
    assert answers[3].cancel()  # its client is gone
    answers.append(batches.ask(image, ("nothing",)))
    go.set()
    assert [len(answers[i].result()) for i in (0, 1, 2)] == [1, 2, 3]
    with pytest.raises(ValueError, match="nothing is no category"):
        answers[6].result()
    batches.worker.shutdown()
    assert seen == [3, 3]


def test_what_is_wrong_is_said(client, server, load, monkeypatch):
    image = load.png(np.zeros((4, 4, 3), "uint8"))

    def refused(names, content):
        answer = client.post("/predict", params={"category": names}, content=content)
        return answer.status_code, str(answer.json()["detail"])

    code, why = refused(["tennch"], image)
    assert code == 400
    assert "tench" in why
    assert refused(["tench", "tench"], image)[0] == 400
    assert refused([], image)[0] == 422
    code, why = refused(["tench"], b"no image")
    assert code == 400
    assert why.startswith("The body is no readable image")
    assert refused(["tench"], image + bytes(server.MOST_BYTES))[0] == 413
    monkeypatch.setattr(server, "MOST_WAITING", 0)
    assert refused(["tench"], image) == (503, "0 requests are waiting. Try again later.")
    assert client.get("/categories").json() == {
        "categories": list(harness.LABELS[:4]),
        "superclasses": [],
    }
