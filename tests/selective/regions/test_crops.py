"""Boxes around changes, the crops that hold what they need, and what a crop costs."""

from fractions import Fraction

import numpy as np

from keras_seqpar.selective.regions import crops
from keras_seqpar.selective.regions.geometry import CropAxis


def test_boxes_cover_their_regions_and_no_more():
    rng = np.random.default_rng(0)
    for _ in range(30):
        changed = rng.random((37, 53)) < 0.02
        covered = np.zeros_like(changed)
        for top, left, bottom, right in crops.find_boxes(changed):
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


def axis(size=101, *, stride=4, before=3, after=5, scale=2):
    return CropAxis(size, -(-size // scale), stride, Fraction(scale), before, after, least=9)


def test_crops_hold_what_they_renew():
    planner = crops.CropPlanner(axis(), axis(80), least=1)
    rng = np.random.default_rng(0)
    for _ in range(200):
        top, left = rng.integers(0, (101, 80))
        box = (top, left, min(top + rng.integers(1, 30), 101), min(left + rng.integers(1, 30), 80))
        crop = planner.crop(tuple(map(int, box)))
        for i, one in enumerate((planner.rows, planner.cols)):
            start, end = crop.box[i], crop.box[i + 2]
            assert start % 4 == 0 and (one.size - end + start) % 4 == 0 and 0 <= start < end
            assert end <= one.size and end - start >= one.least
            reading = [
                o
                for o in range(one.outputs)
                if 2 * o - 3 < box[i + 2] and 2 * o + 5 >= box[i]  # what reads the change
            ]
            assert crop.known[i] <= reading[0] and reading[-1] < crop.known[i + 2]
            first, last = 2 * reading[0] - 3, 2 * reading[-1] + 5
            assert start <= max(first, 0) and min(last, one.size - 1) < end
            assert crop.inside[i] == crop.known[i] - start // 2


def test_sizes_of_crops_are_few():
    one = axis(4 * 256)
    sizes = {end - start for start, end in (one.aligned(8, 8 + n) for n in range(1, 1000))}
    assert len(sizes) < 90
    assert all(one.aligned(8, 8 + n)[1] - 8 <= 1.07 * max(n, 12) + 4 for n in range(1, 900))


def test_other_sizes_are_loaded_where_that_pays():
    sizes = crops.CropSizes((100, 100), most=2)  # loading costs 2,500 pixels
    assert sizes.choose((90, 90)) == (100, 100)  # only 1,900 more
    assert sizes.choose((90, 90)) == (90, 90)
    assert sizes.choose((20, 20)) == (20, 20)
    assert [sizes.choose((20, 10)) for _ in range(13)] == [(20, 20)] * 12 + [(20, 10)]
    assert sizes.choose((20, 20)) == (20, 20)
    assert sizes.choose((60, 60)) == (60, 60)  # (90, 90) has gone, and (20, 10)
    assert sizes.choose((20, 10)) == (20, 20)


def test_crops_of_a_larger_size_renew_more():
    corner = 60, 40, 101, 80
    small, large = (
        crops.CropPlanner(axis(), axis(80), 1, size).crop(corner)
        for size in (lambda x: x, lambda x: (x[0] + 4, x[1]))
    )
    assert large.size == (small.size[0] + 4, small.size[1])
    assert small.box[2:] == large.box[2:] == (101, 80)
    assert small.known[2:] == large.known[2:] == (51, 40)
    assert large.known[0] < small.known[0] and large.known[1] == small.known[1]


def test_regions_are_joined_where_one_crop_is_cheaper():
    planner = crops.CropPlanner(axis(200), axis(200), least=1)
    changed = np.zeros((200, 200), bool)
    changed[20:30, 20:30] = changed[20:30, 70:80] = changed[150, 150] = True
    assert len(planner.plan(changed, start=0.0)) == 3
    assert len(planner.plan(changed, start=1000.0)) == 2
    assert len(planner.plan(changed, start=1e5)) == 1
    assert len(crops.CropPlanner(axis(200), axis(200), least=2).plan(changed, start=0.0)) == 2
    scattered = np.zeros((200, 200), bool)
    scattered[::20, ::20] = True  # 100 regions: larger cells are taken first
    assert planner.plan(scattered, start=0.0)


def test_costs_are_learnt_from_times():
    costs = crops.CropCosts(10_000)
    assert costs.start == 100
    costs.took(1.0, 10_000, 0)
    for _ in range(3):
        assert costs.start == 100
        costs.took(0.3, 2_000, 2)  # 0.2 for the area, 0.05 for each crop
    assert round(costs.start, 6) == 500
    for _ in range(9):
        costs.took(1.5, 2_000, 1)
    assert costs.start == 1250  # at most an eighth of a frame
