"""Batches: functions of seed, epoch and step; every image once."""

import numpy as np
import pytest

from keras_seqpar import data
from keras_seqpar.data import batches
from keras_seqpar.data.augmentation import Policy
from tests.training.runner import SIZE, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """2 x 10 images to train on and 2 x 3 to validate on."""
    pytest.importorskip("PIL.Image")
    return write_images(tmp_path_factory.mktemp("images"))


def test_a_batch_is_a_function_of_seed_epoch_and_step(images):
    split = data.load(f"folder:{images}", image_size=20).train
    policy = Policy(True, 0.35, 5, 0.2, 1.0)

    def batch(epoch, step, seed=7):
        made = batches.TrainingBatches(
            split, policy, 2, image_size=SIZE, batch_size=8, label_smoothing=0.1, seed=seed
        )
        made.begin(epoch)
        (shown, rows), labels = made[step]
        return np.concatenate([a.reshape(-1).astype("float64") for a in (shown, rows, labels)])

    assert np.array_equal(batch(3, 1), batch(3, 1))
    for other in (batch(3, 0), batch(2, 1), batch(3, 1, seed=8)):
        assert not np.array_equal(batch(3, 1), other)


def test_an_epoch_shows_no_image_twice(images):
    split = data.load(f"folder:{images}", image_size=SIZE).train
    made = batches.TrainingBatches(split, Policy(), 2, image_size=SIZE, batch_size=8)
    assert len(made) == 2  # of 8, 4 are left over
    shown = np.concatenate([made[step][0][0] for step in range(2)])
    assert len(np.unique(shown.reshape(16, -1), axis=0)) == 16
    assert np.concatenate([made[step][1] for step in range(2)]).sum() == 16


def test_balanced_sampling_shows_each_category_equally_often():
    counts = {0: 97, 2: 3, 3: 20}  # of category 1 there are none
    labels = np.repeat([*counts], [*counts.values()]).astype("int32")
    split = data.Split(("",) * 120, labels, np.arange(120, dtype="uint8")[:, None, None, None])

    def shown(epoch, seed=0):
        made = batches.TrainingBatches(
            split, Policy(), 4, image_size=1, batch_size=10, seed=seed, balanced=True
        )
        made.begin(epoch)
        assert len(made) == 12
        rows = np.concatenate([made[step][0][0].reshape(-1) for step in range(12)])
        given = np.concatenate([made[step][1].argmax(-1) for step in range(12)])
        assert np.array_equal(labels[rows], given)
        return rows

    rows = shown(1)
    assert np.bincount(labels[rows]).tolist() == [40, 0, 40, 40]
    times = np.bincount(rows, minlength=120)
    assert times[:97].max() == 1  # no image twice while another has not been shown
    assert sorted(times[97:100]) == [13, 13, 14] and set(times[100:]) == {2}
    assert np.array_equal(rows, shown(1))  # as in a resumed run
    for other in (shown(2), shown(1, seed=1)):
        assert not np.array_equal(rows, other) and not np.array_equal(
            np.sort(rows[rows < 97]), np.sort(other[other < 97])
        )


def test_counts_that_do_not_divide_differ_by_one():
    labels = np.array([0] * 9 + [1] * 1 + [2] * 1)
    order = batches.balanced_order(labels, np.random.default_rng(0))
    assert len(order) == 11 and sorted(np.bincount(labels[order])) == [3, 4, 4]
    few = batches.balanced_order(np.array([4]), np.random.default_rng(0))
    assert few.tolist() == [0]


def test_validation_batches_are_all_images_in_order(images):
    split = data.load(f"folder:{images}", image_size=SIZE).validation
    made = batches.ValidationBatches(split, 11, 2, 4)
    read = [made[step] for step in range(len(made))]
    shown = np.concatenate([x for (x, _), _, _ in read])
    labels, weights = (np.concatenate([item[i] for item in read]) for i in (1, 2))
    assert np.array_equal(shown[:6], split.read(range(6)))
    assert np.array_equal(labels[:6].argmax(-1), split.labels)
    assert weights == pytest.approx([8 / 6] * 6 + [0, 0])  # so that means over 8 are means over 6


def test_pieces_of_a_batch_are_mixed_within_themselves(images):
    """The device mixes a piece with itself in reverse; the labels must say the same."""
    split = data.load(f"folder:{images}", image_size=20).train
    made = [
        batches.TrainingBatches(
            split, Policy(mixup=1.0), 2, image_size=64, batch_size=8, share=batches.Share(pieces=n)
        )
        for n in (1, 4)
    ]
    whole, pieces = (batch[0] for batch in made)
    own = whole[0][1][:, 6]  # the weight of an image beside its partner's
    truth = np.eye(2)[split.labels[made[0].order[:8]]]
    for batch, partner in ((whole, truth[::-1]), (pieces, truth[[1, 0, 3, 2, 5, 4, 7, 6]])):
        wanted = own[:, None] * truth + (1 - own[:, None]) * partner
        np.testing.assert_allclose(batch[1], wanted, atol=1e-6)


def test_processes_get_the_parts_of_a_batch(images):
    split = data.load(f"folder:{images}", image_size=16).train

    def batch(*where):
        share = batches.Share(*where)
        made = batches.TrainingBatches(split, Policy(), 2, image_size=64, batch_size=8, share=share)
        return made[0]

    (images_, rows), labels = batch()
    parts = [batch(process, 2) for process in (0, 1)]
    assert np.array_equal(np.concatenate([part[0][0] for part in parts]), images_)
    assert np.array_equal(np.concatenate([part[0][1] for part in parts]), rows)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), labels)
