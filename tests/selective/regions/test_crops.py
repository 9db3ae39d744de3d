"""How changed positions are grouped into boxes, and boxes merged."""

import numpy as np

from keras_seqpar.selective.regions import crops


def test_boxes_contain_connected_changes():
    rng = np.random.default_rng(0)
    for share in (0.001, 0.01, 0.05):
        changed = rng.random((61, 83)) < share
        boxes = crops.find_boxes(changed, cell=4)
        covered = np.zeros(changed.shape, bool)
        for top, left, bottom, right in boxes:
            covered[top:bottom, left:right] = True
            part = changed[top:bottom, left:right]
            assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()
        assert not (changed & ~covered).any()
    two = np.zeros((40, 40), bool)
    two[2, 2] = two[9, 9] = two[30, 4] = True  # cells (0, 0) and (1, 1) touch at a corner
    assert sorted(crops.find_boxes(two)) == [(2, 2, 10, 10), (30, 4, 31, 5)]
    assert crops.find_boxes(two, least=2) == [(2, 2, 10, 10)]
    ring = np.zeros((40, 40), bool)
    ring[[0, 39]] = ring[:, [0, 39]] = True
    assert crops.find_boxes(ring) == [(0, 0, 40, 40)]
    assert crops.find_boxes(np.zeros((5, 5), bool)) == []


def test_boxes_are_merged_where_that_is_cheaper():
    def price(box):
        return 100 + crops.area(box)

    apart = [(0, 0, 10, 10), (0, 60, 10, 70)]
    assert sorted(crops.merge_boxes(apart, price)) == apart
    near = [(0, 0, 10, 10), (0, 12, 10, 22), (40, 40, 50, 50)]
    assert sorted(crops.merge_boxes(near, price)) == [(0, 0, 10, 22), (40, 40, 50, 50)]
