"""The segmentation recipe: data, augmentation, a run that is killed and resumed, the benchmark."""

import io
import json
import pathlib
import sys
import zipfile

import keras
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "recipes"))
pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

import agreement  # noqa: E402
import bench_segmentation  # noqa: E402
import camvid  # noqa: E402
import segment  # noqa: E402

from tests import harness  # noqa: E402

HEIGHT, WIDTH = 40, 48
CLASSES = ("sky", "road", "car")


def write_scenes(path, count=4, *, unlabeled=True, drop=""):
    """A zip with blue sky above gray road and red cars; one corner is not labeled."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        lines = [*CLASSES, "unlabeled"] if unlabeled else CLASSES
        file.writestr("scenes/classes.txt", "\n".join(lines) + "\n")
        for split in camvid.SPLITS:
            for i in range(count):
                image = np.full((HEIGHT, WIDTH, 3), 100, "uint8")
                labels = np.full((HEIGHT, WIDTH), 1, "uint8")
                horizon = rng.integers(12, 20)
                image[:horizon], labels[:horizon] = (80, 120, 220), 0
                y, x = rng.integers(22, 30), rng.integers(4, 34)
                image[y : y + 8, x : x + 10], labels[y : y + 8, x : x + 10] = (200, 30, 30), 2
                image = (image + rng.integers(0, 20, image.shape)).astype("uint8")
                labels[:2, :2] = 3
                parts = (f"{split}/{i}.png", image), (f"{split}annot/{i}.png", labels)
                for name, array in parts:
                    content = io.BytesIO()
                    Image.fromarray(array).save(content, "PNG")
                    if name != drop:
                        file.writestr(f"scenes/{name}", content.getvalue())
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes.zip")


def test_reading(scenes, tmp_path):
    found = camvid.load(str(scenes))
    assert found.categories == CLASSES
    assert {name: len(split) for name, split in found.splits.items()} == dict.fromkeys(
        camvid.SPLITS, 4
    )
    split = found.splits["test"]
    assert split.images.shape == (4, HEIGHT, WIDTH, 3) and split.images.dtype == "uint8"
    assert set(np.unique(split.labels)) == {0, 1, 2, 3}
    for made, words in (
        (tmp_path / "missing.zip", "no file"),
        (write_scenes(tmp_path / "a.zip", unlabeled=False), "last line of classes.txt"),
        (write_scenes(tmp_path / "b.zip", drop="valannot/1.png"), "valannot/1.png is missing"),
    ):
        with pytest.raises(ValueError, match=words):
            camvid.load(str(made))
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="no readable zip"):
        camvid.load(str(tmp_path / "c.zip"))


def test_crops_of_images_and_labels_lie_on_each_other():
    labels = np.zeros((1, 60, 80), "uint8")
    labels[0, 20:40, 30:60] = 1
    images = np.repeat(255 * labels[..., None], 3, -1)
    for seed in range(6):
        rows = camvid.draw(np.random.default_rng(seed), 1, (60, 80), 32)
        rows[:, camvid.augment.AFFINE :] = [1, 1, 1, *[0] * 7]  # no colors, noise or boxes
        made = camvid.Prepare(32)(images, rows, training=True)
        made = keras.ops.convert_to_numpy(made)[0]
        there = camvid.crop_labels(labels, rows, 32)[0]
        assert ((made[..., 0] > 127) == there).mean() > 0.97
        x = np.abs(2 * (rows[0, 0] * 0.5 + rows[0, 2]) / 80 - 1) * 255
        y = 255 * (rows[0, 4] * 31.5 + rows[0, 5]) / 60
        assert np.allclose(made[31, 0, 3:], (y, x), atol=1e-2)
    whole = keras.ops.convert_to_numpy(camvid.Prepare(32)(images, rows, training=False))
    assert np.abs(whole - camvid.with_place(images)).max() <= 0.5


def test_boxes_come_from_the_other_end_of_the_batch():
    labels = np.stack([np.zeros((40, 40), "uint8"), np.ones((40, 40), "uint8")])
    rows = camvid.draw(np.random.default_rng(0), 2, (40, 40), 32)
    rows[:, camvid.augment.AFFINE :] = [1, 1, 1, 0, 4, 6, 10, 20, 0, 0]
    there = camvid.crop_labels(labels, rows, 32)
    assert there[0].sum() == 6 * 14 and there[0, 4:10, 6:20].all()
    assert there[1].sum() == 32 * 32 - 6 * 14
    images = np.repeat(255 * labels[..., None], 3, -1)
    made = keras.ops.convert_to_numpy(camvid.Prepare(32)(images, rows, training=True))
    assert np.array_equal(made[..., 0] > 127, there)
    rows[:, camvid.augment.AFFINE + 3] = 8.0
    noisy = keras.ops.convert_to_numpy(camvid.Prepare(32)(images // 2, rows, training=True))
    assert 3 < noisy[1, 20:, :, 0].std() < 12


def test_parts_of_crops_lie_on_the_grid_of_streams():
    rows = [camvid.draw(np.random.default_rng(i), 3, (40, 40), 32) for i in range(60)]
    corners = np.stack([r[0, -2:] for r in rows])
    assert all((r[:, -2:] == r[0, -2:]).all() for r in rows)  # one for the batch
    assert set(corners.ravel().tolist()) == {0, 4, 8, 12, 16}
    values = np.random.default_rng(0).normal(size=(3, 32, 32, 5)).astype("float32")
    for r in rows[:5]:
        made = keras.ops.convert_to_numpy(agreement.Part(16)(values, r))
        top, left = r[0, -2:].astype(int)
        assert np.array_equal(made, values[:, top : top + 16, left : left + 16])


def test_the_loss_of_parts():
    rng = np.random.default_rng(0)
    within, alone = rng.normal(size=(2, 2, 16, 16, 3)).astype("float32")
    alone[:, 6:10, 6:10] = within[:, 6:10, 6:10] + 3.0  # the same probabilities
    agree = agreement.Agree(2.0)
    assert agree(within, within, alone, training=True) is not None
    assert float(agree.losses[0]) == pytest.approx(0, abs=1e-6)  # the edge may differ
    wider = agreement.Agree(2.0, near=5)
    wider(within, within, alone, training=True)
    p, q = (np.exp(x - np.log(np.exp(x).sum(-1, keepdims=True))) for x in (within, alone))
    apart = (p * np.log(p / q) + q * np.log(q / p)).sum(-1) / 2
    assert float(wider.losses[0]) == pytest.approx(2 * apart[:, 5:-5, 5:-5].mean(), rel=1e-4)
    wider(within, within, alone, training=False)
    assert not wider.losses


def test_grain_of_parts():
    grain = agreement.Grain(6.0, seed=1)
    parts = np.full((16, 44, 44, 5), 128, "float32")
    assert np.array_equal(keras.ops.convert_to_numpy(grain(parts, training=False)), parts)
    one, two = (keras.ops.convert_to_numpy(grain(parts, training=True)) for _ in range(2))
    assert not np.array_equal(one, two) and (one[..., 3:] == 128).all()
    noise = one[..., :3] - 128
    stds = noise.std(axis=(1, 2))  # of three kinds, each of up to 6 and of 3 on average
    assert stds.max() < 6 * 3**0.5 * 1.2 and 3 < stds.mean() < 7 and stds.std() > 0.5
    cells = noise[:, :40, :40].reshape(16, 5, 8, 5, 8, 3)
    blocks = cells.mean(axis=(2, 4))  # white noise alone: 0.4, that of pairs 0.8
    assert 2 < blocks.std() < 5
    assert (cells - blocks[:, :, None, :, None]).std() > 3
    high = keras.ops.convert_to_numpy(grain(parts * 0 + 255, training=True))
    assert high.max() == 255 and high[..., :3].min() < 255


def test_what_is_not_labeled_counts_nothing():
    labels = np.array([[[0, 1, 2]]], "uint8")
    classes, weights = camvid.answers(labels, np.array([0.5, 2.0]))
    assert classes.tolist() == [[[0, 1, 0]]] and weights.tolist() == [[[0.5, 2.0, 0.0]]]
    said = np.array([[[0, 0, 1]]])
    matrix = camvid.confusion(labels, said, 2)
    assert matrix.tolist() == [[1, 0], [1, 0]]
    assert camvid.ious(matrix).tolist() == [0.5, 0.0]


def tiny(classes, seed=0, **_):
    """A network of few layers, in place of the recipe's."""
    frame = keras.Input((None, None, 5), name="frame")
    init = keras.initializers.GlorotUniform(seed)
    conv = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=init, name="conv")
    x = conv(keras.layers.Rescaling(1 / 255, name="scale")(frame))
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    scores = keras.layers.Conv2D(classes, 1, kernel_initializer=init, name="scores")
    return keras.Model(frame, scores(x), name="tiny")


def test_a_killed_run_ends_in_the_same_weights(scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(segment, "build", tiny)
    flags = [f"--data={scenes}", "--crop=32", "--batch_size=2", "--init=none", "--epochs=2"]
    flags += ["--grain=6"]
    assert segment.main([*flags, f"--output={tmp_path / 'one'}"]) == 0
    printed = capsys.readouterr().out
    assert "car" in printed and "mean IoU" in printed

    def stop(self, epoch, logs=None):
        original(self, epoch, logs)
        raise KeyboardInterrupt

    original = segment.run_folder.Checkpoint.on_epoch_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment.run_folder.Checkpoint, "on_epoch_end", stop)
        assert segment.main([*flags, f"--output={tmp_path / 'two'}"]) == 130
    assert segment.main([f"--output={tmp_path / 'two'}", "--resume"]) == 0
    assert "Resuming after epoch 1 of 2" in capsys.readouterr().out
    one, two = (segment.load_network(str(tmp_path / x / "last.keras"), 3) for x in ("one", "two"))
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    found = json.loads((tmp_path / "one" / "test.json").read_text("utf-8"))
    assert found["images"] == 4 and set(found["iou"]) == set(CLASSES)


def test_the_benchmark(scenes, tmp_path, capsys):
    network = segment.build(3, width=0.125, channels=8)
    harness.randomize(network)
    network.save(tmp_path / "net.keras")
    assert segment.main([f"--data={scenes}", f"--evaluate={tmp_path / 'net.keras'}"]) == 0
    assert "mean IoU" in capsys.readouterr().out
    flags = [str(tmp_path / "net.keras"), f"--data={scenes}", "--shares=0.05", "--threshold=0"]
    flags += ["--margin=receptive_field", "--reach=receptive_field", "--images=2"]
    assert bench_segmentation.main([*flags, f"--output={tmp_path / 'bench'}"]) == 0
    (row,) = json.loads((tmp_path / "bench" / "segmentation.json").read_text("utf-8"))["rows"]
    assert row["frames"] == 2 and row["agreement"] == 1.0 and row["miou"] == row["miou_whole"]
    assert "5% pasted" in (tmp_path / "bench" / "segmentation.md").read_text("utf-8")


def test_the_preset_fills_the_trunk():
    network = segment.build(3, channels=8)
    assert segment.initialize(network, "preset:imagenette_small") == 16
    stem = network.get_layer("stem_conv").get_weights()[0]
    assert stem[..., :3, :].any() and not stem[..., 3:, :].any()
    with pytest.raises(ValueError, match="preset:NAME or none"):
        segment.initialize(network, "somewhere")
    with pytest.raises(ValueError, match="'stem_conv' has other shapes"):
        segment.initialize(segment.build(3, width=0.25), "preset:imagenette_small")


def test_bad_flags(scenes, tmp_path, capsys):
    (tmp_path / "no.keras").write_text("no network")
    for flags, words in (
        ([], "Give --data"),
        ([f"--data={scenes}", "--stages=4"], "--stages must be 2 or 3, got 4"),
        ([f"--data={scenes}", "--agree=0", "--grain=6"], "--agree is 0. Give"),
        ([f"--data={scenes}", "--crop=64", "--batch_size=2"], "too few or too small"),
        ([f"--data={scenes}", f"--evaluate={tmp_path / 'no.keras'}"], "no readable .keras"),
        (["--resume", f"--output={tmp_path}"], "no run to resume"),
    ):
        assert segment.main(flags) == 1
        assert words in capsys.readouterr().err
    assert bench_segmentation.main(["net.keras", f"--data={scenes}", "--shares=2"]) == 1
    assert "up to 1" in capsys.readouterr().err
    assert bench_segmentation.main(["net.keras", f"--data={scenes}"]) == 1
    assert "no file net.keras" in capsys.readouterr().err
