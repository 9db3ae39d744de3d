"""Reading frames from files, images, cameras and addresses, and writing videos.

They need OpenCV (extra `video`).
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "reading": ["VideoStream", "open_video", "parse_size"],
        "sources": ["opencv"],
        "writing": ["VideoWriter"],
    },
)
