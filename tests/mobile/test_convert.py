"""Conversion: small, exact where it claims to be, with a stable interface and clear refusals."""

import collections
import os

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.format import flatbuffer
from keras_seqpar.networks.thresholds import Threshold
from tests import harness
from tests.mobile.clients import interpreter, noise

on_tensorflow = pytest.mark.only_backend("tensorflow")
SIZE = 16  # of the random networks; the trained one takes 32


def network(count=2, **options):
    """A small network with random weights that takes pixels."""
    return harness.network(harness.LABELS[:count], include_preprocessing=True, **options)


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory):
    """Quantization -> the converted cutout; int8 with uint8 in and out."""
    folder = tmp_path_factory.mktemp("files")
    integers = {"input_dtype": "uint8", "output_dtype": "uint8"}
    return {
        kind: mobile.convert(
            trained.cutout,
            folder / f"{kind}.tflite",
            quantization=kind,
            calibration=trained.calibration,
            **(integers if kind == "int8" else {}),
        )
        for kind in mobile.QUANTIZATIONS
    }


@pytest.mark.kernels
@on_tensorflow
@pytest.mark.parametrize(
    ("kind", "error"),
    [("float32", 1e-5), ("float16", 5e-3), ("dynamic", 0.1), ("int8", 0.15), ("int16x8", 0.1)],
)
def test_files_agree_with_keras(files, trained, kind, error):
    report = mobile.verify(files[kind].path, trained.cutout, trained.images, trained.labels)
    report.check()
    assert report.max_error <= error
    assert report.agreement == 1  # no decision is as close as the bound on errors: see `trained`
    assert report.accuracy == report.keras_accuracy == 1


@on_tensorflow
def test_sizes(files):
    size = {kind: made.path.stat().st_size for kind, made in files.items()}
    assert all(made.bytes == size[kind] for kind, made in files.items())
    assert size["float16"] < 0.53 * size["float32"]
    assert size["dynamic"] < 0.30 * size["float32"]
    assert size["int8"] < 0.30 * size["float32"]
    assert size["int16x8"] < 0.30 * size["float32"]


@on_tensorflow
def test_int8_of_many_small_branches_is_small(tmp_path):
    net = network(6, family="resnet50", plan="late_sp", width=0.25)
    size = {
        kind: mobile.convert(
            net, tmp_path / f"{kind}.tflite", quantization=kind, calibration=noise()
        ).bytes
        for kind in ("float32", "int8")
    }
    assert size["int8"] < 0.30 * size["float32"]


@on_tensorflow
@pytest.mark.parametrize("kind", mobile.QUANTIZATIONS)
def test_normalization_and_neutral_gains_leave_no_operation(files, trained, kind):
    layers = collections.Counter(type(layer).__name__ for layer in harness.leaves(trained.cutout))
    wanted = {
        "CONV_2D": layers["Conv2D"],
        "ADD": layers["Add"] + 1,  # one of the preprocessing
        "MUL": 1,  # likewise
        "RESHAPE": 2,  # likewise: to rows and back
        "PAD": layers["ZeroPadding2D"] - 2,  # the three branches share that of the trunk's output
        "MEAN": 3,
        "FULLY_CONNECTED": 3,
        "CONCATENATION": 1,
        "SOFTMAX": 1,
    }
    used = dict(files[kind].operations)
    if kind == "float16":
        used.pop("DEQUANTIZE")  # of weights, done once when the file is loaded
    if kind == "int8":
        assert used.pop("QUANTIZE") == 2  # uint8 to int8 and back
    if kind == "int16x8":
        assert used.pop("QUANTIZE") <= 3 and used.pop("DEQUANTIZE") == 1
    assert used == wanted


@on_tensorflow
def test_images_are_normalized_row_by_row(tmp_path):
    """XNNPACK is slow where the last axis has three values."""
    net = network(input_shape=(SIZE, 2 * SIZE, 3))
    path = mobile.convert(net, tmp_path / "a.tflite", quantization="float32").path
    engine = interpreter(path)
    shapes = {
        op["op_name"]: engine._get_tensor_details(op["outputs"][0], 0)["shape"].tolist()
        for op in reversed(engine._get_ops_details())
    }
    assert shapes["MUL"] == [1, SIZE, 2 * SIZE * 3]
    assert shapes["RESHAPE"] == [1, SIZE, 2 * SIZE * 3]
    images = noise(4, size=2 * SIZE)[:, :SIZE]
    wanted = harness.predict(net, images.astype("float32"))
    assert harness.error(mobile.Runner(path)(images), wanted) < 1e-5


@on_tensorflow
@pytest.mark.parametrize("kind", mobile.QUANTIZATIONS)
def test_interface(files, trained, kind):
    engine = interpreter(files[kind].path)
    (image,), (scores,) = engine.get_input_details(), engine.get_output_details()
    dtype = np.uint8 if kind == "int8" else np.float32
    assert (image["name"], scores["name"]) == ("image", "scores")
    assert (image["dtype"], scores["dtype"]) == (dtype, dtype)
    assert image["shape"].tolist() == image["shape_signature"].tolist() == [1, 32, 32, 3]
    assert scores["shape"].tolist() == [1, 3]
    assert engine.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["scores"]}
    }
    assert files[kind].labels_path.read_text("utf-8") == "8\n3\n5\n"
    assert mobile.Runner(files[kind].path).labels == trained.cutout.layers[-1].hierarchy.categories
    assert "3,5,8" not in str(files[kind]) and "60 op" in str(files["float32"])


@on_tensorflow
def test_only_needed_files_are_written(files):
    names = {f"{kind}{end}" for kind in files for end in (".tflite", ".labels.txt")}
    assert set(os.listdir(files["int8"].path.parent)) == names


@on_tensorflow
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("int8", -128)])
def test_integer_inputs_are_pixels_whatever_was_calibrated_on(tmp_path, dtype, zero):
    dark = np.clip(noise(), 20, 150)
    before = dark.copy()
    made = mobile.convert(
        network(),
        tmp_path / "dark.tflite",
        quantization="int8",
        calibration=dark,
        input_dtype=dtype,
        output_dtype=dtype,
    )
    engine = interpreter(made.path)
    assert engine.get_input_details()[0]["quantization"] == (1.0, zero)
    assert engine.get_output_details()[0]["quantization"] == (1 / 256, zero)
    assert np.array_equal(dark, before)
    pixels = noise(1, seed=5)
    engine.set_tensor(
        engine.get_input_details()[0]["index"], (pixels.astype("int32") + zero).astype(dtype)
    )
    engine.invoke()
    scores = engine.get_tensor(engine.get_output_details()[0]["index"]).astype("float32")
    assert np.array_equal((scores - zero) / 256, mobile.Runner(made.path)(pixels))


@on_tensorflow
def test_weights_are_quantized_per_channel(files):
    engine = interpreter(files["int8"].path)
    scales = [
        len(detail["quantization_parameters"]["scales"])
        for detail in engine.get_tensor_details()
        if detail["dtype"] == np.int8 and len(detail["shape"]) == 4 and detail["shape"][0] > 1
    ]
    assert len(scales) >= 30 and min(scales) > 1


@on_tensorflow
@pytest.mark.parametrize("kind", mobile.QUANTIZATIONS)
def test_rewriting_changes_size_only(monkeypatch, trained, tmp_path, kind):
    contents, original = [], flatbuffer.rewrite

    def rewrite(content, **options):
        new = original(content, **options)
        contents.extend([content, new[0]])
        return new

    monkeypatch.setattr(flatbuffer, "rewrite", rewrite)
    options = {"quantization": kind, "calibration": trained.calibration}
    made = mobile.convert(trained.cutout, tmp_path / "a.tflite", **options)
    assert made.path.read_bytes().startswith(contents[1])  # and the files of the metadata
    assert len(contents[1]) < len(contents[0])
    scores = []
    for i, content in enumerate([contents[0], made.path.read_bytes()]):
        path = tmp_path / f"{i}.tflite"
        path.write_bytes(content)
        scores.append(mobile.Runner(path)(trained.images))
    assert np.array_equal(*scores)


@pytest.mark.kernels
@on_tensorflow
def test_conversion_repeats_itself(trained, files, tmp_path):
    again = mobile.convert(trained.cutout, tmp_path / "again.tflite", quantization="float32")
    assert again.path.read_bytes() == files["float32"].path.read_bytes()


@on_tensorflow
def test_fewer_categories_make_a_smaller_file(tmp_path):
    net = network(4)
    sizes = [
        mobile.convert(sp.cutout(net, harness.LABELS[:n]), tmp_path / f"{n}.tflite").bytes
        for n in (1, 2, 4)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


@on_tensorflow
def test_constant_gains_and_nested_networks(tmp_path):
    tree = {"pets": ["cat", "dog"], "vehicles": ["car", "bus"], "sky": None}
    net = harness.network(tree, include_preprocessing=True)
    net = sp.cutout(sp.attend(net, {"pets": 1.5, "car": 0.5}), ["dog", "sky", "car"])
    made = mobile.convert(net, tmp_path / "nested.tflite", quantization="float32")
    mobile.verify(made.path, net, noise(20)).check()


@pytest.mark.kernels
@on_tensorflow
@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic"])
def test_gains_input(tmp_path, kind):
    net = sp.attention_input(network(3))
    made = mobile.convert(net, tmp_path / "gains.tflite", quantization=kind)
    runner = mobile.Runner(made.path)
    images = noise(20)
    mobile.verify(made.path, net, images).check()
    assert [d["name"] for d in interpreter(made.path).get_input_details()] == ["image", "gains"]
    gains = np.array([0.2, 3.0, 1.0], "float32")
    wanted = harness.predict(net, images.astype("float32"), np.tile(gains, (20, 1)))
    bound = mobile.BOUNDS[kind].max_error
    assert np.abs(runner(images, gains) - wanted).max() < bound
    assert np.abs(runner(images) - wanted).max() > bound  # neutral is another thing
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        runner(images, gains[:2])


@on_tensorflow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_becomes_float32(tmp_path, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        net = harness.build(harness.LABELS[:2], include_preprocessing=True)
    finally:
        keras.config.set_dtype_policy(before)
    harness.randomize(net)
    assert any(layer.compute_dtype != "float32" for layer in harness.leaves(net))
    made = mobile.convert(net, tmp_path / "mixed.tflite", quantization="float32")
    assert not {"CAST", "DEQUANTIZE"} & set(made.operations)
    types = {detail["dtype"] for detail in interpreter(made.path).get_tensor_details()}
    assert types <= {np.float32, np.int32}
    mobile.verify(made.path, net, noise(20)).check()
    twin = network()
    twin = sp.cutout(twin, harness.LABELS[:2], copy=True)
    sp.copy_weights(net, twin)
    mobile.verify(made.path, twin, noise(20)).check()


@on_tensorflow
def test_normalized_input(tmp_path):
    net = harness.network(harness.LABELS[:2])
    images = mobile.from_pixels(net, noise())
    assert images.dtype == np.float32 and 1 < np.abs(images).max() < 3
    with pytest.warns(UserWarning, match="uint8 images are no pixels: MediaPipe .*preprocessing"):
        made = mobile.convert(
            net,
            tmp_path / "net.tflite",
            quantization="int8",
            calibration=images,
            input_dtype="uint8",
        )
    runner = mobile.Runner(made.path)
    assert runner.about["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert runner.about["std"] == pytest.approx([58.395, 57.12, 57.375])
    mobile.verify(made.path, net, images).check()


@pytest.mark.kernels
@on_tensorflow
def test_plain_network(tmp_path):
    net = sp.build_plain(
        ["cat", "dog"],
        family="resnet18",
        input_shape=(SIZE, SIZE, 3),
        width=0.125,
        stem="small",
        include_preprocessing=True,
        seed=0,
    )
    made = mobile.convert(net, tmp_path / "plain.tflite", quantization="float32")
    assert made.labels_path.read_text() == "cat\ndog\n"
    mobile.verify(made.path, net, noise(8)).check()


def foreign(outputs=4, size=SIZE) -> keras.Model:
    """A functional model that is not of this package."""
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(outputs, activation="softmax")(x), name="other")


@on_tensorflow
def test_networks_from_elsewhere_lose_their_labels(tmp_path):
    net = foreign()
    with pytest.warns(UserWarning, match="'other' is no network of this package.*no labels"):
        made = mobile.convert(net, tmp_path / "a.tflite", quantization="float32")
    assert made.labels_path is None and "no labels" in str(made)
    assert mobile.Runner(made.path).labels is None
    assert "mean" not in mobile.Runner(made.path).about
    mobile.verify(made.path, net, noise(8)).check()
    made = mobile.convert(net, tmp_path / "b.tflite", labels=["a", "b", "c", "größer"])
    assert mobile.Runner(made.path).labels == ("a", "b", "c", "größer")
    mobile.convert(net, tmp_path / "c.tflite", labels=False)
    assert not (tmp_path / "c.labels.txt").exists()


@on_tensorflow
def test_batches_and_images_of_any_size(tmp_path):
    net = network(2, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match=r"any size.*image_size=\(height, width\)"):
        mobile.convert(net, tmp_path / "a.tflite")
    made = mobile.convert(
        net,
        tmp_path / "a.tflite",
        quantization="int8",
        calibration=noise(50),
        batch_size=4,
        image_size=(16, 16),
    )
    runner = mobile.Runner(made.path)
    assert runner.input_shape == (4, 16, 16, 3)
    images = noise(7)
    assert np.array_equal(runner(images)[5], runner(images[5:6])[0])
    mobile.verify(made.path, net, images, min_agreement=0.5).check()
    with pytest.raises(ValueError, match=r"image_size \(16, 32\) does not fit.*16 x 16"):
        mobile.convert(network(), tmp_path / "a.tflite", image_size=(16, 32))


ERRORS = {
    "no model": ({"model": "net.keras"}, TypeError, "got 'net.keras'.*load_model"),
    "quantization": ({"quantization": "int7"}, ValueError, "'int7'. Did you mean 'int8'.*dynamic"),
    "input_dtype": (
        {"input_dtype": "uint9", "quantization": "int8"},
        ValueError,
        "Unknown input_dtype 'uint9'. Did you mean 'uint8'",
    ),
    "16 bits": (
        {"input_dtype": "int8", "quantization": "int16x8", "calibration": noise()},
        ValueError,
        "needs quantization='int8'; a int16x8 file has 16-bit activations",
    ),
    "no calibration of 16x8": ({"quantization": "int16x8"}, ValueError, "'int16x8' needs calib"),
    "quantizer": ({"quantizer": "ai-edge"}, ValueError, "'ai-edge'. Did you mean 'ai_edge'"),
    "quantizer of floats": (
        {"quantizer": "ai_edge", "quantization": "float16"},
        ValueError,
        "makes dynamic and int8 files, not float16. Take quantizer='tensorflow'",
    ),
    "author": ({"author": ["me"]}, TypeError, r"author must be a text, got \['me'\]"),
    "floats": (
        {"output_dtype": "uint8"},
        ValueError,
        "output_dtype='uint8' needs quantization='int8'; a dynamic file",
    ),
    "batch": ({"batch_size": 0}, ValueError, "batch_size must be .* 1 or more, got 0"),
    "suffix": ({"path": "net.bin"}, ValueError, "must end in .tflite, got .*net.bin"),
    "no folder": ({"path": "nowhere/net.tflite"}, ValueError, "nowhere' does not exist. Make it"),
    "folder": ({"path": "sub.tflite"}, ValueError, "sub.tflite' is a folder"),
    "label count": ({"labels": ["a"]}, ValueError, "1 labels do not fit .* 2 outputs"),
    "label lines": ({"labels": ["a", "b\nc"]}, ValueError, r"'b\\nc' does not fit into a label"),
    "labels": ({"labels": "ab"}, TypeError, "sequence of strings, got 'ab'"),
    "no calibration": ({"quantization": "int8"}, ValueError, "needs calibration: some hundred"),
    "calibration type": ({"calibration": noise().tolist()}, TypeError, "uint8 or floats, got int"),
    "calibration size": (
        {"calibration": noise(size=8)},
        ValueError,
        r"shape \(n, 16, 16, 3\), got \(60, 8, 8, 3\)",
    ),
    "one image": ({"calibration": noise()[0]}, ValueError, r"batch axis: images\[None\]"),
    "no image": ({"calibration": noise()[:0]}, ValueError, "one or more, got none"),
    "0 to 1": (
        {"calibration": noise() / 255},
        ValueError,
        "float64 in 0 .. [01].* do not fit .* takes pixels of 0 to 255.*Multiply them by 255",
    ),
    "normalized": ({"calibration": noise() / 64.0 - 2}, ValueError, "-2 .. .* Give the pixels"),
    "NaN": ({"calibration": noise() * np.nan}, ValueError, "must be finite"),
    "black": ({"calibration": noise() * np.uint8(0)}, ValueError, "no real images"),
}


@on_tensorflow
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name, tmp_path):
    options, error, message = ERRORS[name]
    options = {"model": None, "path": "net.tflite", **options}
    model = options.pop("model") or network()
    path = tmp_path / options.pop("path")
    (tmp_path / "sub.tflite").mkdir()
    if "calibration" in options:
        options.setdefault("quantization", "int8")
    with pytest.raises(error, match=message):
        mobile.convert(model, path, **options)
    assert os.listdir(tmp_path) == ["sub.tflite"]


@on_tensorflow
def test_pixels_for_a_network_that_takes_normalized_input(tmp_path):
    net = harness.network(harness.LABELS[:2])
    for images in (noise(), noise().astype("float32")):
        with pytest.raises(ValueError, match="takes normalized input.*include_preprocessing=True"):
            mobile.convert(net, tmp_path / "net.tflite", quantization="int8", calibration=images)


@on_tensorflow
def test_few_calibration_images_are_said(tmp_path):
    with pytest.warns(UserWarning, match=r"Calibration on 3 image\(s\).*Take 50 or more"):
        mobile.convert(
            network(), tmp_path / "net.tflite", quantization="int8", calibration=noise(3)
        )


@on_tensorflow
def test_networks_that_cannot_become_a_file(tmp_path):
    path = tmp_path / "net.tflite"
    for kind in ("int8", "int16x8"):
        with pytest.raises(
            ValueError, match=f"input cannot become {kind} without .*'dynamic'.*attend"
        ):
            mobile.convert(
                sp.attention_input(network()), path, quantization=kind, calibration=noise()
            )
    unsure = sp.with_threshold(network(), Threshold(0.0))
    with pytest.raises(ValueError, match=r"none of these, which int16x8 .*with_threshold\(model"):
        mobile.convert(unsure, path, quantization="int16x8", calibration=noise())
    tiny = sp.build_plain(
        ["a", "b"], family="convnext_v2_atto", input_shape=(32, 32, 3), width=0.125, seed=0
    )
    images = mobile.from_pixels(tiny, noise(size=32))
    with pytest.raises(ValueError, match=r"does not run in int16x8: .*Take another quantization"):
        mobile.convert(tiny, path, quantization="int16x8", calibration=images)
    vector = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)], name="vector")
    with pytest.raises(ValueError, match=r"'vector' takes float32 of shape \(5,\)"):
        mobile.convert(vector, path)
    with pytest.raises(ValueError, match="'unbuilt' has no known inputs"):
        mobile.convert(keras.Sequential([keras.layers.Dense(2)], name="unbuilt"), path)
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    with pytest.raises(ValueError, match=r"has the inputs \['a', 'b'\]"):
        mobile.convert(keras.Model([a, b], keras.layers.Add()([a, b])), path)
    with pytest.raises(ValueError, match="has 2 outputs"):
        mobile.convert(keras.Model(a, [a, keras.layers.ReLU()(a)]), path)
    assert not os.listdir(tmp_path)


@on_tensorflow
def test_operations_that_tflite_lacks_are_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.erfinv(keras.layers.GlobalAveragePooling2D()(inputs) / 300)
    net = keras.Model(inputs, x, name="odd")
    with pytest.raises(ValueError, match=r"(?s)cannot convert the model 'odd'.*built-in.*Erfinv"):
        mobile.convert(net, tmp_path / "odd.tflite", quantization="float32", labels=False)
    assert not os.listdir(tmp_path)


@on_tensorflow
@pytest.mark.parametrize("name", [b"FlexErfinv", None])
def test_custom_and_flex_operations_are_refused_after_conversion(tmp_path, name):
    """Whatever a converter lets through."""
    from ai_edge_litert import schema_py_generated as schema

    made = mobile.convert(network(), tmp_path / "net.tflite", quantization="float32")
    model = flatbuffer.unpack(made.path.read_bytes())
    assert sum(flatbuffer.operations(model).values()) == sum(made.operations.values())
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = name
    with pytest.raises(ValueError, match=f"not built into TFLite: {(name or b'CUSTOM').decode()}"):
        flatbuffer.rewrite(flatbuffer.pack(model), description="{}")


@on_tensorflow
def test_failed_writes_keep_the_old_file(monkeypatch, tmp_path):
    net, path = network(), tmp_path / "net.tflite"
    made = mobile.convert(net, path)
    before = path.read_bytes(), made.labels_path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, step, full)
            with pytest.raises(OSError, match="No space left"):
                mobile.convert(net, path, quantization="float32", labels=["x", "y"])
        assert (path.read_bytes(), made.labels_path.read_bytes()) == before
        assert sorted(os.listdir(tmp_path)) == ["net.labels.txt", "net.tflite"]


@on_tensorflow
def test_move_takes_the_labels_along(tmp_path):
    (tmp_path / "to").mkdir()
    made = mobile.convert(network(), tmp_path / "a.tflite")
    moved = made.move(tmp_path / "to" / "b.tflite")
    assert sorted(os.listdir(tmp_path / "to")) == ["b.labels.txt", "b.tflite"]
    assert os.listdir(tmp_path) == ["to"]
    assert mobile.Runner(moved.path).labels == harness.LABELS[:2]
    mobile.convert(network(), tmp_path / "a.tflite", labels=False).move(moved.path)
    assert os.listdir(tmp_path / "to") == ["b.tflite"]  # no labels of another file
    with pytest.raises(ValueError, match="does not exist"):
        moved.move(tmp_path / "nowhere" / "b.tflite")


@pytest.mark.only_backend("jax", "torch")
def test_conversion_needs_tensorflow(backend, tmp_path):
    with pytest.raises(RuntimeError, match=f"runs on {backend}. Set KERAS_BACKEND=tensorflow"):
        mobile.convert(harness.network(harness.LABELS[:2]), tmp_path / "net.tflite")
    assert not os.listdir(tmp_path)
