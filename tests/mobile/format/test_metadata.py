"""Metadata of converted files: read back by MediaPipe, which nobody here wrote, and by zipfile."""

import json
import os
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.format import flatbuffer, metadata
from keras_seqpar.mobile.format.files import seal
from tests import harness

pytestmark = pytest.mark.only_backend("tensorflow")

KINDS = ("float", "dynamic", "uint8", "litert")
TREE = {"pets": ["cat", "dög"], "sky": None}
PEOPLE = {"description": "What I see.", "author": "Zoë", "license": "CC-BY-4.0"}


@pytest.fixture(scope="module")
def files(digits_file, trained, tmp_path_factory):
    """Kind -> path of the converted cutout of the digits, by TensorFlow and by LiteRT's tool."""
    source, folder = digits_file("float32").path, tmp_path_factory.mktemp("files")
    options = {"quantization": "int8", "input_dtype": "uint8", "output_dtype": "uint8"}
    options["calibration"] = trained.calibration
    return {
        "float": source,
        "dynamic": mobile.quantize(source, folder / "dynamic.tflite").path,
        "uint8": digits_file("int8").path,
        "litert": mobile.quantize(source, folder / "litert.tflite", **options).path,
    }


@pytest.fixture(scope="module")
def nested():
    """A network with a superclass, its gains as an input."""
    return sp.attention_input(harness.network(TREE, include_preprocessing=True))


def run(python, code, *arguments) -> subprocess.CompletedProcess:
    """Runs code in an environment without this package."""
    return subprocess.run(
        [str(python), "-c", code, *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )


CLASSIFY = """
import json, sys
import numpy as np
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision

path, pixels, *images = sys.argv[1:]
shown, seen = [], []
options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=path))
with vision.ImageClassifier.create_from_options(options) as classifier:
    for image in images:
        image = mp.Image.create_from_file(image)
        seen.append(image.numpy_view()[..., :3].copy())
        heads = classifier.classify(image).classifications
        shown.append({
            head.head_name: {c.category_name: (c.index, c.score) for c in head.categories}
            for head in heads
        })
np.save(pixels, seen)
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def jpegs(trained, tmp_path_factory):
    """Digits as JPEG files, in the size that the files take."""
    folder = tmp_path_factory.mktemp("jpegs")
    paths = [folder / f"{i}.jpg" for i in range(12)]
    for path, image in zip(paths, trained.images, strict=False):
        Image.fromarray(image).save(path, quality=95)
    return paths


def classify(python, path, images, folder):
    """What MediaPipe says, and the pixels that it saw."""
    done = run(python, CLASSIFY, path, folder / "pixels.npy", *images)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), np.load(folder / "pixels.npy")


@pytest.mark.parametrize("kind", KINDS)
def test_mediapipe_shows_our_names_and_scores(
    mediapipe_python, files, trained, jpegs, tmp_path, kind
):
    shown, pixels = classify(mediapipe_python, files[kind], jpegs, tmp_path)
    scores = mobile.Runner(files[kind])(pixels)
    bound = 1 / 256 if kind in ("uint8", "litert") else 1e-5
    for said, wanted in zip(shown, scores, strict=True):
        assert list(said) == ["scores"]
        names = sorted(said["scores"], key=lambda name: said["scores"][name][0])
        assert names == ["8", "3", "5"]  # in the cutout's order
        found = [said["scores"][name][1] for name in names]
        assert np.abs(np.array(found) - wanted).max() <= bound
    best = [max(said["scores"], key=lambda name: said["scores"][name][1]) for said in shown]
    wanted = ["835"[label] for label in trained.labels[: len(jpegs)]]
    assert np.mean([name == right for name, right in zip(best, wanted, strict=True)]) >= 0.9


def test_mediapipe_shows_none_of_these(mediapipe_python, trained, jpegs, tmp_path):
    logits = harness.logits(trained.cutout, trained.calibration.astype("float32"))
    net = sp.with_threshold(trained.cutout, sp.fit_threshold(logits, keep=0.5))
    made = mobile.convert(net, tmp_path / "net.tflite")
    assert zipfile.ZipFile(made.path).read("none_of_these.txt") == b"none of these\n"
    shown, pixels = classify(mediapipe_python, made.path, jpegs, tmp_path)
    scores, none = mobile.Runner(made.path).decide(pixels)
    assert 0 < none.mean() < 1
    for said, wanted, decision in zip(shown, scores, none, strict=True):
        assert said["none_of_these"]["none of these"][1] == decision
        found = [said["scores"][name][1] for name in "835"]
        assert np.abs(np.array(found) - wanted).max() <= 1e-5


def test_what_mediapipe_does_not_take(mediapipe_python, nested, jpegs, tmp_path):
    """As the guide says."""
    normalized = harness.network(harness.LABELS[:2])
    for net, message in (
        (normalized, "Per-channel image normalization is not available"),
        (nested, "assumed to have a single input"),
    ):
        made = mobile.convert(net, tmp_path / "net.tflite")
        done = run(mediapipe_python, CLASSIFY, made.path, tmp_path / "pixels.npy", jpegs[0])
        assert done.returncode != 0 and message in done.stderr


READ = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

def tensor(t):
    found = {
        "name": t.Name().decode(),
        "content": t.Content() and t.Content().ContentPropertiesType(),
        "files": [file(t.AssociatedFiles(i)) for i in range(t.AssociatedFilesLength())],
        "units": [],
    }
    for i in range(t.ProcessUnitsLength()):
        unit = t.ProcessUnits(i)
        assert unit.OptionsType() == schema.ProcessUnitOptions.NormalizationOptions
        options = schema.NormalizationOptions()
        options.Init(unit.Options().Bytes, unit.Options().Pos)
        found["units"].append([options.MeanAsNumpy().tolist(), options.StdAsNumpy().tolist()])
    return found

def file(f):
    return [f.Name().decode(), f.Type()]

shown = []
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    m = schema.ModelMetadata.GetRootAs(data)
    assert m.SubgraphMetadataLength() == 1
    g = m.SubgraphMetadata(0)
    text = lambda value: value and value.decode()
    shown.append({
        "people": [text(m.Description()), text(m.Author()), text(m.License())],
        "name": text(m.Name()),
        "parser": text(m.MinParserVersion()),
        "files": [file(m.AssociatedFiles(i)) for i in range(m.AssociatedFilesLength())],
        "inputs": [tensor(g.InputTensorMetadata(i)) for i in range(g.InputTensorMetadataLength())],
        "outputs": [
            tensor(g.OutputTensorMetadata(i)) for i in range(g.OutputTensorMetadataLength())
        ],
    })
print(json.dumps(shown))
"""


def stored(path) -> bytes:
    """The content of the buffer TFLITE_METADATA."""
    model = flatbuffer.unpack(path.read_bytes())
    (entry,) = (entry for entry in model.metadata if entry.name == b"TFLITE_METADATA")
    return bytes(model.buffers[entry.buffer].data)


def test_the_schemas_own_reader_understands(mediapipe_python, files, nested, tmp_path):
    normalized = harness.network(harness.LABELS[:2])
    made = {
        "nested": mobile.convert(nested, tmp_path / "nested.tflite", **PEOPLE).path,
        "normalized": mobile.convert(normalized, tmp_path / "n.tflite", labels=False).path,
        **files,
    }
    paths = []
    for kind, path in made.items():
        paths.append(tmp_path / f"{kind}.metadata")
        paths[-1].write_bytes(stored(path))
    done = run(mediapipe_python, READ, *paths)
    assert done.returncode == 0, done.stderr
    shown = dict(zip(made, json.loads(done.stdout), strict=True))
    assert shown["nested"]["people"] == list(PEOPLE.values())
    assert shown["float"]["people"] == ["Scores 3 categories.", None, None]
    assert shown["float"] == shown["uint8"] == shown["dynamic"] == shown["litert"]
    pixels = {"name": "image", "content": 2, "files": [], "units": [[[0.0], [1.0]]]}
    assert shown["float"]["inputs"] == [pixels]
    labels = {"name": "scores", "content": 1, "files": [["labels.txt", 2]], "units": []}
    assert shown["float"]["outputs"] == [labels]
    assert shown["float"]["files"] == [["hierarchy.json", 1]]
    assert shown["float"]["parser"] == "1.0.0"
    gains = {"name": "gains", "content": 1, "files": [["gains.txt", 2]], "units": []}
    assert shown["nested"]["inputs"] == [pixels, gains]
    ((mean, std),) = shown["normalized"]["inputs"][0]["units"]
    assert mean == pytest.approx([123.675, 116.28, 103.53])
    assert std == pytest.approx([58.395, 57.12, 57.375])
    assert not shown["normalized"]["files"] and not shown["normalized"]["outputs"][0]["files"]


def test_zipfile_opens_the_files(files, trained, nested, tmp_path):
    for path in files.values():
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["hierarchy.json", "labels.txt"]
            assert archive.testzip() is None
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            assert archive.read("labels.txt") == b"8\n3\n5\n"
            tree = sp.Hierarchy.from_config(json.loads(archive.read("hierarchy.json")))
        assert tree == trained.cutout.get_layer("categories").hierarchy
    made = mobile.convert(nested, tmp_path / "nested.tflite", labels=["Katze", "Hund", "Himmel"])
    with zipfile.ZipFile(made.path) as archive:
        assert archive.namelist() == ["gains.txt", "hierarchy.json", "labels.txt"]
        assert archive.read("labels.txt").decode() == "Katze\nHund\nHimmel\n"
        names = archive.read("gains.txt").decode().splitlines()
        assert tuple(names) == sp.gain_names(nested)
        assert '"dög"' in archive.read("hierarchy.json").decode()


def test_labels_come_from_the_file_where_none_lie_beside(files, tmp_path):
    for path in files.values():
        copy = tmp_path / "copy.tflite"
        copy.write_bytes(path.read_bytes())
        assert mobile.Runner(copy).labels == ("8", "3", "5")


def test_files_without_names(tmp_path):
    net = harness.network(harness.LABELS[:2], include_preprocessing=True)
    made = mobile.convert(net, tmp_path / "net.tflite", labels=False)
    assert mobile.Runner(made.path).labels is None
    assert not zipfile.is_zipfile(made.path)
    assert os.listdir(tmp_path) == ["net.tflite"]


def test_files_that_lost_their_names_are_refused(files, tmp_path):
    content = files["float"].read_bytes()
    model = flatbuffer.unpack(content)
    archive = content.index(b"PK\x03\x04", len(content) - 3000)
    copy = tmp_path / "copy.tflite"
    lengths = [archive, archive + 10, archive + 60, len(content) - 100, len(content) - 1]
    contents = [content[:length] for length in lengths]
    contents.append(flatbuffer.pack(model))  # as tools do that know nothing of the archive
    damaged = bytearray(content)
    damaged[content.index(b"8\n3\n5\n")] ^= 1
    contents.append(bytes(damaged))
    renamed = content.replace(b"hierarchy.json", b"hierarchy.jsom", 1)  # the metadata says so
    contents.append(renamed)
    for broken in contents:
        assert broken != content
        copy.write_bytes(broken)
        with pytest.raises(ValueError, match=r"copy.tflite' is truncated or damaged"):
            mobile.Runner(copy)


def test_metadata_of_other_labels_is_refused(files, tmp_path):
    other = metadata.append(
        flatbuffer.pack(flatbuffer.unpack(files["float"].read_bytes())),
        {"labels.txt": b"a\nb\n", "hierarchy.json": b"{}"},
    )
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(seal(other))
    with pytest.raises(ValueError, match="the metadata of copy.tflite' has 2 labels, .* 3 outputs"):
        mobile.Runner(copy)
