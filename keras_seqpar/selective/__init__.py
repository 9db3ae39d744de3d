"""Change-driven inference: a network on a stream of frames computes only what changed.

`stream` runs a network so, `report` says before any run what that can gain, `Detector` is how
changes are found, `spread` how they go through a layer. `SegmentationStream` segments crops
around what changed. `open_sizes` lets a network take frames of other sizes.
"""

import importlib.util

from keras_seqpar.selective.detect import Detector

if importlib.util.find_spec("keras"):  # a device has none; it imports modules by name
    from keras_seqpar.selective.geometry import open_sizes
    from keras_seqpar.selective.reporting import LayerReport, Report, report
    from keras_seqpar.selective.results import Result, Stats
    from keras_seqpar.selective.rules import spread
    from keras_seqpar.selective.segmentation import SegmentationStream
    from keras_seqpar.selective.segmentation_results import SegmentationResult, SegmentationStats
    from keras_seqpar.selective.streams import Stream, stream

__all__ = [
    "Detector",
    "LayerReport",
    "Report",
    "Result",
    "SegmentationResult",
    "SegmentationStats",
    "SegmentationStream",
    "Stats",
    "Stream",
    "open_sizes",
    "report",
    "spread",
    "stream",
]
