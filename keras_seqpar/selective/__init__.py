"""Inference on a stream of frames that computes only what changed.

`stream` runs a network, or a .tflite file, on frame after frame. `report` tells how much a stream
can save, without running it. `FileStream` is the stream of a file, also where Keras is not
installed. `Detector` finds what changed in a frame, and `spread` which outputs of a layer a change
affects. `SegmentationStream` segments crops around what changed. `open_sizes` makes a network that
takes frames of any size.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "change_maps.rules": ["spread"],
        "detector": ["Detector"],
        "litert_engine.report": ["FileReport", "RunReport"],
        "litert_engine.results": ["FileResult", "FileStats"],
        "litert_engine.stream": ["FileStream"],
        "regions.geometry": ["open_sizes"],
        "regions.results": ["SegmentationResult", "SegmentationStats"],
        "regions.stream": ["SegmentationStream"],
        "reporting": ["LayerReport", "Report", "report"],
        "results": ["Result", "Stats"],
        "streams": ["Stream", "stream"],
    },
)
