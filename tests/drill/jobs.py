"""The commands of the drills of kills and full disks, and what must hold of the files they leave.

Every job writes to a folder of its own. At any moment that folder holds what was there before or
what the command makes, each complete; and the same command, called again, ends as if nothing had
happened.
"""

import csv
import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.drill import children

SIZE = 16
EPOCHS = 3
FRAMES = 6


@dataclasses.dataclass(frozen=True)
class Job:
    """A command, and how to judge what it leaves.

    Args:
        name: of the job.
        command: path of the command.
        arguments: folder of the job -> the command line.
        prepare: fills the folder with what is there before.
        check: raises an error if a file in the folder is half or does not fit the others. It runs
            in a child, with the text of `result` before and after the command.
        result: text on what the command made, the same for every uninterrupted run. In a child.
    """

    name: str
    command: str
    arguments: Callable[[Path], list[str]]
    prepare: Callable[[Path], None]
    check: Callable[[Path], None]
    result: Callable[[Path], str]


def make_inputs(base: Path) -> None:
    """Makes images, networks and a video, and what is there before some of the jobs."""
    from keras_seqpar.data.video import VideoWriter
    from tests import harness
    from tests.training.runner import write_images

    write_images(base / "images", (("train", 8), ("validation", 3)), (SIZE, SIZE))
    for name, labels in (("old", ("bright", "dark")), ("new", ("dark", "bright"))):
        network = harness.network(labels, include_preprocessing=True)
        network.save(base / f"{name}.keras")
    writer = VideoWriter(base / "box.mkv", 10)
    for i in range(FRAMES):
        frame = np.full((32, 48, 3), 60, "uint8")
        frame[10:20, 4 + 3 * i : 12 + 3 * i] = (250, 40, 40)
        writer.write(frame)
    writer.close()


def make_jobs(base: Path) -> list[Job]:
    """All jobs; `make_inputs` has filled `base`."""
    dataset = f"--dataset=folder:{base / 'images'}"

    def train(folder: Path) -> list[str]:
        flags = [f"--output={folder / 'run'}", f"--image_size={SIZE}", "--width=0.125"]
        flags += ["--plan=tiny", "--batch_size=8", f"--epochs={EPOCHS}", "--jit=off", "--mixup=0.2"]
        return [dataset, *flags, "--resume"]

    def convert(folder: Path, name: str = "new") -> list[str]:
        output = f"--output={folder / 'net.tflite'}"
        return [str(base / f"{name}.keras"), dataset, output, "--quantization=float32"]

    def write_pack(folder: Path) -> list[str]:
        output = f"--output={folder / 'net.pack'}"
        return [str(base / "old.keras"), dataset, output, "--quantization=float32"]

    def write_archive(folder: Path) -> list[str]:
        return [str(folder / "a.zip"), dataset, f"--image_size={SIZE}", "--overwrite"]

    def watch(folder: Path) -> list[str]:
        model = f"--model={base / 'old.keras'}"
        return [str(base / "box.mkv"), model, f"--output={folder}", "--threshold=0"]

    def before(command: str, arguments: Callable[[Path], list[str]], name: str):
        """Makes once what is there before a job; returns a function that copies it."""
        kept = base / name
        kept.mkdir()
        log = base / f"{name}.log"
        code = children.finish(children.start(command, arguments(kept), log))
        assert code == 0, log.read_text()
        return lambda folder: shutil.copytree(kept, folder, dirs_exist_ok=True)

    def nothing(folder: Path) -> None:
        pass

    old_file = before("tflite/convert.py", lambda f: convert(f, "old"), "before_file")
    old_pack = before(
        "tflite/pack.py", lambda f: [*write_pack(f), "--categories=bright"], "before_pack"
    )
    old_archive = before(
        "recipes/pack.py", lambda f: [*write_archive(f), "--quality=20"], "before_archive"
    )
    return [
        Job("training", "recipes/train.py", train, nothing, check_run, result_of_run),
        Job("conversion", "tflite/convert.py", convert, old_file, check_file, result_of_file),
        Job("packing", "tflite/pack.py", write_pack, nothing, check_pack, result_of_pack),
        Job(
            *("adding", "tflite/pack.py", lambda f: [*write_pack(f), "--add=dark"], old_pack),
            *(check_pack, result_of_pack),
        ),
        Job(
            *("archiving", "recipes/pack.py", write_archive, old_archive),
            *(check_archive, result_of_archive),
        ),
        Job("watching", "recipes/watch.py", watch, nothing, check_watch, result_of_watch),
    ]


def temporary_files(folder: Path) -> list[str]:
    """Names of temporary files and folders below a folder."""
    return sorted(path.name for path in folder.rglob("*") if ".tmp" in path.name)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _arrays_of_network(path: Path) -> str:
    """The weights in a .keras file, bit for bit; its other members hold dates."""
    import h5py

    found = hashlib.sha256()

    def add(name: str, item) -> None:
        if isinstance(item, h5py.Dataset):
            found.update(name.encode() + np.asarray(item).tobytes())

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, f"{path} is damaged"
        json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(add)
    return found.hexdigest()[:16]


def epochs_of(folder: Path) -> int:
    """The number of epochs in the checkpoint of a run."""
    path = folder / "run" / "checkpoint.npz"
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as file:
        return len(json.loads(file["meta"].tobytes())["history"])


def check_run(folder: Path) -> None:
    """Every file of a run is complete, and none is of another run."""
    run = folder / "run"
    if (run / "flags.json").exists():
        json.loads((run / "flags.json").read_text("utf-8"))
    for name in ("images.csv", "history.csv"):
        if (run / name).exists():
            with open(run / name, encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
            assert len({len(row) for row in rows}) == 1, f"{name} has torn lines"
    if (run / "checkpoint.npz").exists():
        assert (run / "flags.json").exists(), "a checkpoint without flags.json"
        with np.load(run / "checkpoint.npz", allow_pickle=False) as file:
            for name in file.files:
                file[name]
        assert (run / "best.keras").exists(), "a checkpoint without best.keras"
    for name in ("best.keras", "last.keras"):
        if (run / name).exists():
            _arrays_of_network(run / name)


def result_of_run(folder: Path) -> str:
    """The weights, the optimizer and the history of a run."""
    run = folder / "run"
    lines = []
    with np.load(run / "checkpoint.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    for line in meta["history"]:
        line.pop("seconds")
    lines.append(json.dumps(meta, sort_keys=True))
    lines += [f"{name} {_sha(array.tobytes())}" for name, array in arrays.items()]
    lines += [f"{name} {_arrays_of_network(run / name)}" for name in ("best.keras", "last.keras")]
    with open(run / "history.csv", encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    lines += [json.dumps(rows), _sha((run / "images.csv").read_bytes())]
    return "\n".join(lines)


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype("float32")


def check_file(folder: Path) -> None:
    """A model stands beside its own labels, or for a moment beside none: it has them inside."""
    from keras_seqpar import mobile

    # Runner refuses a model that stands beside the labels of another.
    assert mobile.Runner(folder / "net.tflite").labels, "the model has no labels"


def result_of_file(folder: Path) -> str:
    """The answers of a .tflite file, by label; and the labels beside it."""
    from keras_seqpar import mobile

    runner = mobile.Runner(folder / "net.tflite")
    beside = (folder / "net.labels.txt").read_text("utf-8").split()
    assert list(runner.labels or beside) == beside, f"labels {runner.labels}, beside it {beside}"
    # The first category of both networks has the same random weights, so that the labels tell.
    return f"{beside} {_sha((folder / 'net.tflite').read_bytes())}"


def check_pack(folder: Path) -> None:
    """A pack is complete or absent."""
    if (folder / "net.pack").exists():
        result_of_pack(folder)


def result_of_pack(folder: Path) -> str:
    """The answers of a pack."""
    from keras_seqpar import mobile

    runner = mobile.PackRunner(folder / "net.pack")
    return f"{runner.categories} {_sha(np.asarray(runner(_pixels())).tobytes())}"


def check_archive(folder: Path) -> None:
    """An archive is complete."""
    result_of_archive(folder)


def result_of_archive(folder: Path) -> str:
    """The names and contents in an archive."""
    with zipfile.ZipFile(folder / "a.zip") as archive:
        assert archive.testzip() is None, "the archive is damaged"
        return _sha(repr([(i.filename, i.CRC) for i in archive.infolist()]).encode())


def check_watch(folder: Path) -> None:
    """Every row of the table is complete, and the video has its frames, up to the last one."""
    rows = _rows(folder)
    assert all(None not in row.values() and None not in row for row in rows), "torn rows"
    if (folder / "watch.mkv").exists() and rows:
        assert len(rows) - _count_frames(folder / "watch.mkv") in (0, 1)


def result_of_watch(folder: Path) -> str:
    """The rows without what depends on times, and the number of frames."""
    keep = ("frame", "changed", "predicted")  # the mode depends on measured times
    rows = [{name: row.get(name) for name in keep} for row in _rows(folder)]
    return f"{json.dumps(rows)} {_count_frames(folder / 'watch.mkv')}"


def _rows(folder: Path) -> list[dict]:
    path = folder / "watch.csv"
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _count_frames(path: Path) -> int:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        assert capture.isOpened(), f"{path.name} cannot be played"
        count = 0
        while capture.read()[0]:
            count += 1
    finally:
        capture.release()
    return count
