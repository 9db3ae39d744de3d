"""Damaged files of every kind that the package reads: a clear error or a valid result.

A clear error is a ValueError or OSError that names the file. Everything else is a fault: another
exception, a message without the file's name, a crash, more than 2 GB or 10 s.
"""

import contextlib
import importlib
import io
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from tests.drill.damage import mutate, mutate_json, mutate_model, without_hash
from tests.drill.processes import run_cases

CASES = 10_000
# Opens a damaged file; what it returns is a valid result.
Open = Callable[[], object]
Made = tuple[pathlib.Path, Open]


def run(share: float, seed: int) -> dict[str, int]:
    """Makes a share of the cases; prints the faults.

    Returns:
        How many cases there were, and how many ended in a clear error, a valid result, or a fault.
    """
    with tempfile.TemporaryDirectory() as name:
        bases = pathlib.Path(name) / "bases"
        bases.mkdir()
        command = [sys.executable, "-m", "tests.drill.bases", str(bases)]
        subprocess.run(command, check=True, capture_output=True)
        counts = {"cases": 0, "clear errors": 0, "valid results": 0, "faults": 0}
        for case, outcome, text in cases(share, seed, bases):
            counts["cases"] += 1
            counts[outcome] += 1
            if outcome == "faults":
                print(f"  seed {seed}, case {case}, {ROUND[case % len(ROUND)]}: {text}", flush=True)
        return counts


def cases(
    share: float, seed: int, bases: pathlib.Path, only: str | None = None
) -> Iterator[tuple[int, str, str]]:
    """Makes and opens damaged files.

    Args:
        share: of all cases.
        seed: of the drill.
        bases: folder with the files of `bases.py`.
        only: one of `KINDS`, to leave out the others.

    Yields:
        `(case, outcome, text)`.
    """
    for name in ("ai_edge_litert.interpreter", "litert_quantizer.quantizer", "torch"):
        importlib.import_module(name)  # before the children are forked

    from keras_seqpar import mobile  # noqa: F401

    numbers = [
        i for i in range(max(1, round(CASES * share))) if only in (None, ROUND[i % len(ROUND)])
    ]
    with tempfile.TemporaryDirectory() as name:

        def attempt(index: int) -> tuple[str, str]:
            case = numbers[index]
            kind = ROUND[case % len(ROUND)]
            folder = pathlib.Path(name)
            path, opened = KINDS[kind][0](random.Random(f"{seed} {case}"), folder, bases)
            try:
                opened()
            except (ValueError, OSError) as error:
                if path.name in str(error):
                    return "clear errors", str(error)
                return "faults", f"the message does not name {path.name}: {error!r}"
            return "valid results", ""

        for index, outcome, text in run_cases(len(numbers), attempt):
            yield numbers[index], outcome, text


def _model(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    from keras_seqpar.mobile.runtime.runner import Runner

    base = draw.choice(sorted(bases.glob("*.tflite")))
    content = without_hash(base.read_bytes())
    zipped = content.find(b"PK\3\4", 8)
    end = len(content) if zipped < 0 else zipped
    match draw.randrange(10):
        case 0:
            content = mutate(draw, content)
        case 1 | 2 if zipped > 0:
            content = mutate(draw, content, zipped)
        case 3 | 4 | 5:  # the tables are at the beginning and at the end
            content = mutate(draw, content, *draw.choice(((0, 3000), (end - 3000, end))))
        case _:
            content = mutate_model(draw, content) + content[end:]
    path = folder / "damaged.tflite"
    path.write_bytes(content)

    def opened():
        runner = Runner(path)
        for signature in runner.signatures or (None,):
            one = Runner(path, signature=signature) if signature else runner
            scores, _ = one.decide(np.zeros((1, *one.input_shape[1:]), "float32"))
            assert scores.shape[0] == 1 and scores.dtype == np.float32

    return path, opened


def _signed_model(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    """A file as `convert` wrote it, with its hash: whatever changes is refused."""
    from keras_seqpar.mobile.runtime.runner import Runner

    base = draw.choice(sorted(bases.glob("*.tflite")))
    path = folder / "damaged.tflite"
    content = base.read_bytes()
    path.write_bytes(mutate(draw, content))

    def opened():
        Runner(path)
        assert path.read_bytes() == content, "a change was not noticed"

    return path, opened


def _quantized(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    """A float file to quantize."""
    from keras_seqpar.mobile.quantization.post_training import quantize
    from keras_seqpar.mobile.runtime.runner import Runner

    content = without_hash((bases / "float.tflite").read_bytes())
    if draw.random() < 0.7:
        content = mutate_model(draw, content) + content[content.find(b"PK\3\4", 8) :]
    else:
        content = mutate(draw, content, end=3000)
    path, small = folder / "damaged.tflite", folder / "small.tflite"
    path.write_bytes(content)
    small.unlink(missing_ok=True)
    options: dict = {}
    if draw.random() < 0.5:
        images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3)).astype("uint8")
        options = {"quantization": "int8", "calibration": images}

    def opened():
        try:
            quantize(path, small, **options)
        except (ValueError, OSError):
            assert not small.exists(), "an error, and a file all the same"
            raise
        Runner(small)

    return path, opened


def _state_dict(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    """Weights for `keras_seqpar.weights.load`."""
    from keras_seqpar.weights.state_dicts import read_state_dict

    base = draw.choice(sorted(bases.glob("weights.*")))
    path = folder / f"damaged{base.suffix}"
    path.write_bytes(mutate(draw, base.read_bytes()))

    def opened():
        arrays = read_state_dict(path).arrays
        assert all(array.dtype == np.float32 for array in arrays.values())

    return path, opened


def _pack(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    """A pack with a damaged, missing or exchanged file, or another manifest."""
    from keras_seqpar.mobile.runtime.pack_runner import PackRunner

    target = folder / "damaged.pack"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bases / "int8.pack", target)
    one, other = draw.sample(sorted(target.glob("*.tflite")), 2)
    manifest = target / "manifest.json"
    match draw.randrange(8):
        case 0:
            one.write_bytes(mutate(draw, one.read_bytes()))
        case 1:
            one.unlink()
        case 2:
            one.write_bytes(other.read_bytes())
        case 3:
            manifest.write_bytes(mutate(draw, manifest.read_bytes()))
        case _:
            manifest.write_bytes(mutate_json(draw, manifest.read_bytes()))

    def opened():
        runner = PackRunner(target)
        scores = runner(np.zeros((1, *runner.input_shape[1:]), "float32"))
        assert len(scores) == 1

    return target, opened


def _manifest(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    from keras_seqpar.mobile.runtime.manifest import read_manifest

    content = (bases / "int8.pack" / "manifest.json").read_bytes()
    path = folder / "manifest.json"
    path.write_bytes(mutate(draw, content) if draw.random() < 0.3 else mutate_json(draw, content))
    return path, lambda: read_manifest(folder)


def _labels(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    """A label file beside a model without labels in it."""
    from keras_seqpar.mobile.runtime.runner import Runner

    model, path = folder / "net.tflite", folder / "net.labels.txt"
    model.write_bytes((bases / "dynamic.tflite").read_bytes())
    coding = draw.choice(("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"))
    end = draw.choice(("\n", "\r\n", "\r", "\u2028", ""))
    text = end.join(draw.choice(("cat", "dög", "3", "", " ", "a\0b", "x" * 5000)) for _ in range(3))
    content = text.encode(coding, "replace")
    path.write_bytes(mutate(draw, content) if draw.random() < 0.7 else content)

    def opened():
        labels = Runner(model).labels
        assert len(labels) == 3 and all(labels)

    return path, opened


def _image(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    """An image for `python -m keras_seqpar.mobile.run`."""
    from PIL import Image

    from keras_seqpar.mobile.runtime import run as command

    ending, mode = draw.choice(("png", "jpeg", "gif", "bmp", "webp")), draw.choice(("RGB", "L"))
    stream = io.BytesIO()
    Image.effect_noise((20, 10), 50).convert(mode).save(stream, ending)
    path = folder / f"image.{ending}"
    path.write_bytes(mutate(draw, stream.getvalue()))

    def opened():
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = command.main([str(bases / "float.tflite"), str(path)])
        if code:
            raise ValueError(told.getvalue())

    return path, opened


def _hierarchy(draw: random.Random, folder: pathlib.Path, bases: pathlib.Path) -> Made:
    from keras_seqpar.hierarchy.files import from_file

    ending = draw.choice(("json", "yaml"))
    text = draw.choice(_HIERARCHIES[ending])
    path = folder / f"tree.{ending}"
    path.write_bytes(mutate(draw, text.encode()))
    return path, lambda: from_file(path)


_HIERARCHIES = {
    "json": [
        '["cat", "dog", "car"]',
        '{"pets": ["cat", "dog"], "car": null}',
        '{"tree": [{"id": "a", "label": "A", "children": [{"id": "b", "label": "B"},'
        ' {"id": "c", "label": "C"}]}], "categories": ["c", "b"]}',
        "[" * 3000 + "]" * 3000,
        '{"a":' * 3000 + "null" + "}" * 3000,
    ],
    "yaml": [
        "- cat\n- dog\n",
        "pets:\n  - cat\n  - dog\ncar: null\n",
        "pets: {small: [cat, dog], large: [horse]}\ncar:\n",
        "a: &x [b]\nc: *x\n",
        "[" * 3000,
    ],
}

# Kind -> what makes and opens a damaged file, and how many of a round of cases are of it.
KINDS: dict[str, tuple[Callable[[random.Random, pathlib.Path, pathlib.Path], Made], int]] = {
    "models": (_model, 8),
    "models with a hash": (_signed_model, 3),
    "files to quantize": (_quantized, 2),
    "state dicts": (_state_dict, 2),
    "packs": (_pack, 2),
    "manifests": (_manifest, 3),
    "label files": (_labels, 1),
    "images": (_image, 2),
    "hierarchies": (_hierarchy, 1),
}
ROUND = [name for name, (_, count) in KINDS.items() for _ in range(count)]
