"""tflite/crops.py as users call it."""

import json

import pytest

from tests.mobile.export.test_crops import make_network

pytestmark = pytest.mark.only_backend("tensorflow")


def test_convert_then_measure(call, tmp_path):
    make_network().save(tmp_path / "street.keras")
    path = tmp_path / "out" / "street.tflite"
    options = ("convert", "street.keras", "--image_size", "64x80", "--output", path)
    code, out, err = call("crops.py", *options, "--crops", "44x44,64x44", "--images", 2)
    assert code == 0, err
    assert "100.00% of the positions have Keras's class, on 2 images" in out
    assert "signatures full, crop_44x44, crop_64x44" in out
    results = tmp_path / "out" / "crops.json"
    few = ("--images", 3, "--shares", "0.01", "--runs", 2, "--output", results)
    code, out, err = call("crops.py", "measure", path, *few)
    assert code == 0, err
    assert "| crop_64x44 | 55.0% |" in out and "| 1% pasted | 3 |" in out
    facts = json.loads(results.read_text())
    assert facts["changes"][0]["agreement"] == 1.0 and len(facts["signatures"]) == 3
    for arguments, words in (
        ((*options, "--crops", "3"), "--crops takes sizes like 64x96, got '3'"),
        (("measure", path, "--shares", "2"), "--shares must be numbers above 0 and up to 1"),
        (("draw", path), "Give convert NET.keras or measure FILE.tflite"),
    ):
        code, _, err = call("crops.py", *arguments)
        assert code == 1 and words in err
