"""Serves the explorer: choose categories, see what they cost, take the file.

    python tflite/web/serve.py preset:imagenette_mobile
    python tflite/web/serve.py runs/digits/best.keras
    python tflite/web/serve.py out/digits.pack
    python tflite/web/serve.py out/digits.tflite

prints an address to open; without a network, choose a file in the page. A network of Keras is
converted in float32, which needs the extra `mobile`; the other two need Python only. For int8,
with images of your own, see recipes/explore.py. The first call installs LiteRT.js and fflate into
tflite/web/node_modules (npm ci). Only this machine can open the page, unless --host names another
address. Images stay in the browser. Browsers allow a camera only on localhost or over https.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from keras_seqpar.mobile.explorer.server import Cutter, PageServer, data_of_file, export, install

HERE = Path(__file__).resolve().parent


def prepare(network: str, folder: Path) -> Cutter | None:
    """Writes the data of a network; returns what makes cutouts of it, if something can."""
    if not network.startswith("preset:") and Path(network).suffix != ".keras":
        data_of_file(network, folder)
        return None
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras_seqpar.mobile.explorer.page_data import cutter, sample_photos, write_page_data
    from keras_seqpar.networks.loading import load_model
    from keras_seqpar.presets import load_preset

    print("Converting the network ...", flush=True)
    name = network.removeprefix("preset:")
    model = load_preset(name) if name != network else load_model(network)
    source = None if name != network else network
    write_page_data(model, folder, title=Path(name).stem, source=source, examples=sample_photos())
    return cutter(model)


def main() -> None:
    """Serves until interrupted, or exports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", nargs="?", help="preset:NAME, NET.keras, a pack or NET.tflite")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free port")
    parser.add_argument("--export", metavar="FOLDER", help="write static files, do not serve")
    args = parser.parse_args()
    install(HERE)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        cut = prepare(args.network, data) if args.network else None
        if args.export:
            export(HERE, data, args.export)
            print(f"Static files: {args.export}")
            return
        with PageServer(HERE, data, host=args.host, port=args.port, cut=cut) as server:
            server.run()


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"Error: {error}")
