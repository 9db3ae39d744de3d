"""Alignment and receptive field of known networks."""

from fractions import Fraction

import pytest

from keras_seqpar.selective.litert_engine.graph import read_graph
from keras_seqpar.selective.regions.geometry import crop_geometry
from tests.selective.litert_engine.files import VALID, File

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


@pytest.fixture
def rows_of(tmp_path):
    def of(build, size=(32, 32)):
        file = File((1, *size, 2))
        file.outputs.append(build(file, file.frame))
        rows = crop_geometry(read_graph(file.save(tmp_path / "net.tflite"))).rows
        return rows.stride, rows.scale, rows.before, rows.after

    return of


def test_known_networks(rows_of):
    assert rows_of(lambda f, x: f.conv(f.conv(x, 2), 2, (5, 5))) == (1, 1, 3, 3)
    assert rows_of(lambda f, x: f.conv(x, 2, (5, 5), padding=VALID)) == (1, 1, 0, 4)
    padded = rows_of(lambda f, x: f.conv(f.conv(f.pad(x), 2, stride=2, padding=VALID), 2))
    assert padded == (2, 2, 3, 3)
    stages = rows_of(lambda f, x: f.resize(f.pool(x, "MAX_POOL_2D", (4, 4), 4), (32, 32)))
    assert stages == (4, 1, 5, 7)
    blocks = rows_of(lambda f, x: f.blocks(f.conv(x, 8, (1, 1)), "DEPTH_TO_SPACE"))
    assert blocks == (1, Fraction(1, 2), 1, 0)
    third = rows_of(lambda f, x: f.transposed(f.pool(x, "MAX_POOL_2D"), 2, stride=3))
    assert third[:2] == (2, Fraction(2, 3))


def test_networks_that_give_no_map(rows_of):
    with pytest.raises(ValueError, match=r"gives one map \(1, height, width, classes\), but net"):
        rows_of(lambda f, x: f.head(x))
    with pytest.raises(ValueError, match=r"33x32 are hardly larger .*, 32x32, so no crop"):
        rows_of(lambda f, x: f.conv(x, 2, (32, 32), stride=32), (33, 32))
