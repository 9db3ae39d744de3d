"""What an installed package must do, in a minute, with whatever is installed beside it.

    KERAS_BACKEND=jax python -P tests/smoke.py --files out

With a backend: build, train a step, cut, save and load, run the preset and a stream. With the extra
`mobile` on TensorFlow: write the files of the preset and its cutout into `--files`, beside their
scores. Without Keras: run those files with NumPy and an interpreter, alone and as a stream.
`make test-wheel` runs both; docs/compatibility.md lists the versions that passed.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import sys
from pathlib import Path

import numpy as np

HEAVY = {"keras", "tensorflow", "jax", "torch"}
LIBRARIES = ("keras", "tensorflow", "jax", "torch", "numpy", "ai-edge-litert")


def frames(size: tuple[int, int, int], count: int = 4) -> np.ndarray:
    """A still scene in which a square appears in every frame but the first."""
    still = np.random.default_rng(0).integers(0, 256, size).astype("float32")
    scenes = np.repeat(still[None], count, axis=0)
    for index in range(1, count):
        scenes[index, 8 * index : 8 * index + 8, 8:16] = 255 - 40 * index
    return scenes


def check(condition, what: str) -> None:
    """Ends the run where something is not as promised, also under `python -O`."""
    if not condition:
        sys.exit(f"smoke test: {what}")
    print(f"  {what}", flush=True)


def check_import() -> None:
    """`import keras_seqpar` loads nothing heavy, and knows the version that is installed."""
    import keras_seqpar

    check(not HEAVY & set(sys.modules), "the import loads no Keras and no backend")
    installed = importlib.metadata.version("keras-seqpar")
    check(keras_seqpar.__version__ == installed, f"version {installed}")
    check((Path(keras_seqpar.__file__).parent / "py.typed").is_file(), "marked as typed")


def check_networks(folder: Path) -> None:
    """Networks are built, trained, cut, saved and loaded, and run on streams, on this backend."""
    import keras

    import keras_seqpar as sp
    from keras_seqpar import selective

    scenes = frames((32, 32, 3))
    model = sp.build_phl(
        ["cat", "dog", "bird", "fish"],
        family="resnet18",
        width=0.125,
        stem="small",
        input_shape=(32, 32, 3),
        include_preprocessing=True,
    )
    model.compile("sgd", loss="categorical_crossentropy")
    loss = model.fit(scenes, np.eye(4), verbose=0).history["loss"][0]
    check(np.isfinite(loss), "a network trains")

    part = sp.cutout(model, ["fish", "cat"])
    logits, kept = (
        sp.with_activation(net, None).predict(scenes, verbose=0) for net in (model, part)
    )
    check(np.allclose(kept, logits[:, [3, 0]], atol=1e-4), "a cutout has the network's logits")
    check(sp.cost(part).params < sp.cost(model).params, "and fewer parameters")

    part.save(folder / "part.keras")
    loaded = keras.models.load_model(folder / "part.keras")
    scores = part.predict(scenes, verbose=0)
    same = np.allclose(loaded.predict(scenes, verbose=0), scores, atol=1e-5)
    check(same, "a saved cutout has the same scores")

    stream = selective.stream(part, engine="keras")
    outputs = np.stack([np.asarray(stream(frame).output).ravel() for frame in scenes])
    check(np.allclose(outputs, scores, atol=1e-4), "a stream has the scores of whole frames")


def check_preset(folder: Path) -> None:
    """The preset runs; with TensorFlow and the extra `mobile` it is cut and converted."""
    import keras

    import keras_seqpar as sp

    (name, *_) = sp.preset_names()
    preset = sp.load_preset(name)
    scenes = frames(preset.input_shape[1:])
    scores = preset.predict(scenes, verbose=0)
    check(np.allclose(scores.sum(1), 1, atol=1e-4), f"the preset {name} runs")
    if keras.backend.backend() != "tensorflow" or not importlib.util.find_spec("ai_edge_litert"):
        return
    from keras_seqpar import mobile

    part = sp.cutout(preset, ["church", "tench"])
    for file, network in {"preset": preset, "cutout": part}.items():
        mobile.convert(network, folder / f"{file}.tflite", quantization="float32")
    mobile.convert(part, folder / "int8.tflite", quantization="int8", calibration=scenes)
    cut = part.predict(scenes, verbose=0)
    np.savez(folder / "scores.npz", frames=scenes, preset=scores, cutout=cut)
    whole, small = ((folder / f"{file}.tflite").stat().st_size for file in ("cutout", "int8"))
    check(small < whole / 2, "an int8 file is less than half as large as a float32 file")


def check_files(folder: Path) -> None:
    """Files run with NumPy and an interpreter, in the light rooms."""
    from keras_seqpar.mobile.runtime import Runner
    from keras_seqpar.selective import stream

    with np.load(folder / "scores.npz", allow_pickle=False) as file:
        stored = dict(file)
    for name in ("preset", "cutout"):
        scores = Runner(folder / f"{name}.tflite")(stored["frames"])
        check(np.allclose(scores, stored[name], atol=1e-3), f"{name}.tflite has Keras's scores")
    runner, camera = Runner(folder / "int8.tflite"), stream(folder / "int8.tflite")
    check(runner.labels == ("church", "tench"), "a file carries its labels")
    for frame in stored["frames"]:
        same = np.array_equal(np.asarray(camera(frame).output), runner(frame[None]))
        check(same, "a stream has the file's bits")
    check(not HEAVY & set(sys.modules), "nothing heavy was loaded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", required=True, type=Path, help="folder of the converted files")
    args = parser.parse_args()
    args.files.mkdir(parents=True, exist_ok=True)
    check_import()
    if importlib.util.find_spec("keras"):
        check_networks(args.files)
        check_preset(args.files)
    else:
        check_files(args.files)
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        if importlib.util.find_spec(library.replace("-", "_")):
            versions[library] = importlib.metadata.version(library)
    print("passed with " + json.dumps(versions))


if __name__ == "__main__":
    main()
