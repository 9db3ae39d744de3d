"""Change-driven inference: which layers a change in a frame reaches, and what that can save."""

from keras_seqpar.selective.detect import Detector
from keras_seqpar.selective.reporting import LayerReport, Report, report
from keras_seqpar.selective.rules import spread

__all__ = ["Detector", "LayerReport", "Report", "report", "spread"]
