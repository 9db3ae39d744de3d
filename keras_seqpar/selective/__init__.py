"""Inference on a stream of frames that computes only what changed.

`stream` runs a .tflite file, or a Keras model, on frame after frame; it needs NumPy and an
interpreter only, unless it is given a Keras model. `report` tells how much a stream can save,
without running it. `export_stream` writes the runs of a file for an app. `Detector` finds what
changed in a frame. `region_stream` renews a segmentation where something changed.
`open_sizes` makes a network that takes frames of any size.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "detector": ["Detector"],
        "frame_stream": ["Stream"],
        "keras_engine.opening": ["open_sizes"],
        "litert_engine.export": ["export_stream"],
        "regions": ["RegionStream", "region_stream"],
        "reporting": ["Report", "RunReport", "report"],
        "results": ["Result", "Stats"],
        "streams": ["stream"],
    },
)
