"""Inference on a stream of frames that computes only what changed.

`stream` runs a .tflite file, or a Keras model, on frame after frame; it needs NumPy and an
interpreter only, unless it is given a Keras model. `report` tells how much a stream can save,
without running it. `export_stream` writes the runs of a file for an app. `Detector` finds what
changed in a frame. `region_stream` runs a segmentation network on crops around what changed.
`open_sizes` makes a network that takes frames of any size.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "detector": ["Detector"],
        "litert_engine.export": ["export_stream"],
        "regions.export": ["export_region_stream"],
        "regions.model_crops": ["open_sizes"],
        "regions.stream": ["RegionStream", "region_stream"],
        "reporting": ["Report", "RunReport", "report"],
        "results": ["Result", "Stats"],
        "streams": ["Stream", "stream"],
    },
)
