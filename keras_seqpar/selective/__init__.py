"""Change-driven inference: a network on a stream of frames computes only what changed.

`stream` runs a network so, `report` says before any run what that can gain, `Detector` is how
changes are found, `spread` how they go through a layer. `SegmentationStream` segments crops
around what changed. `open_sizes` lets a network take frames of other sizes.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "change_maps.rules": ["spread"],
        "detector": ["Detector"],
        "regions.geometry": ["open_sizes"],
        "regions.results": ["SegmentationResult", "SegmentationStats"],
        "regions.stream": ["SegmentationStream"],
        "reporting": ["LayerReport", "Report", "report"],
        "results": ["Result", "Stats"],
        "streams": ["Stream", "stream"],
    },
)
