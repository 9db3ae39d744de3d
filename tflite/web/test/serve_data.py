"""Serves the page with data that exists, for the page's tests.

    python tflite/web/test/serve_data.py FOLDER [NET.keras]

With a network, the page can ask for cutouts of it.
"""

import os
import sys
from pathlib import Path

from keras_seqpar.mobile.explorer.server import PageServer

PAGE = Path(__file__).resolve().parents[1]


def cutter_of(path: str):
    """What makes cutouts of a network, which is loaded when the first one is wanted."""

    def cut(categories) -> bytes:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        from keras_seqpar.mobile.explorer.page_data import cutter
        from keras_seqpar.networks.loading import load_model

        return cutter(load_model(path))(categories)

    return cut


if __name__ == "__main__":
    cut = cutter_of(sys.argv[2]) if sys.argv[2:] else None
    with PageServer(PAGE, sys.argv[1], cut=cut) as server:
        server.run()
