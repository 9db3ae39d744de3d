"""Change-driven inference on LiteRT: exact streams of .tflite files, NumPy and an interpreter."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "report": ["FileReport", "RunReport", "report_file"],
        "results": ["FileResult", "FileStats"],
        "stream": ["FileStream"],
    },
)
