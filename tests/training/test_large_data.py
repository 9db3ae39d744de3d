"""Trainings on images that do not fit into memory, and on ImageNet's subsets by name.

Networks of one branch: ten of them would only take longer.
"""

import keras
import numpy as np
import pytest

from keras_seqpar import hierarchy
from tests.data.sources.test_tfds import store
from tests.training.runner import JIT, SIZE, train, weights_of

# Two trainings each; what reads images knows no backend.
pytestmark = [pytest.mark.only_backend("tensorflow"), pytest.mark.usefixtures("eagerly")]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A folder named as ImageNet's, with two and one images of the ten breeds and five cats."""
    Image = pytest.importorskip("PIL.Image")
    folder, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for name in (*hierarchy.subset_wnids("imagewoof"), *hierarchy.subset_wnids("meow")):
        for split, count in (("train", 2), ("val", 1)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (20, 24, 3), "uint8"))
                image.save(folder / split / name / f"{name}_{i}.JPEG")
    return folder


def two_steps(output, *flags):
    """Trains for two steps of ten images; returns the categories, and the weights by name."""
    done = train(
        [
            *(f"--output={output}", f"--image_size={SIZE}", "--width=0.125", "--epochs=1", JIT),
            *("--batch_size=10", "--plan=tiny", "--network=one_branch", *flags),
        ]
    )
    path = done.folder / "last.keras"
    network = keras.models.load_model(path)
    return network.get_layer("categories").hierarchy.categories, weights_of(path)


def test_imagewoof_by_its_name_from_memory_and_decoded_when_needed(imagenet, tmp_path):
    pytest.importorskip("grain")
    flags = ("--dataset=imagenet", f"--data_dir={imagenet}", "--categories=imagewoof")
    categories, kept = two_steps(tmp_path / "kept", *flags)
    assert set(categories) == set(hierarchy.subset_labels("imagewoof"))
    again, streamed = two_steps(tmp_path / "streamed", *flags, "--data_memory=0")
    assert again == categories and kept.keys() == streamed.keys()
    for name, value in kept.items():
        np.testing.assert_array_equal(value, streamed[name], name)


def test_a_set_of_tensorflow_datasets(tmp_path):
    store(tmp_path, [*range(10)] * 2)
    categories, _ = two_steps(
        tmp_path / "run", "--dataset=tfds:imagenette/160px-v2", f"--data_dir={tmp_path}"
    )
    assert set(categories) == set(hierarchy.subset_labels("imagenette"))
