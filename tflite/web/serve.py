"""Serves the page that runs .tflite files in the browser. Needs Python, and npm once.

    python tflite/web/serve.py --model out/best-int8.tflite

prints an address to open. Without --model, choose a file in the page. The first call installs
LiteRT.js into tflite/web/node_modules (npm ci). Only this machine can open the page, unless --host
names another address. Files and images stay in the browser. Browsers allow a camera only on
localhost or over https.
"""

import argparse
import http.server
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADERS = {  # the first two allow a page to use threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves this folder, and the file of --model as `/model`."""

    extensions_map = {  # noqa: RUF012
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }
    model: Path | None = None

    def do_GET(self):
        if urllib.parse.urlsplit(self.path).path != "/model":
            super().do_GET()
        elif self.model is None:
            self.send_response(204)
            self.end_headers()
        else:
            content = self.model.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Name", urllib.parse.quote(self.model.name))
            self.end_headers()
            self.wfile.write(content)

    def end_headers(self):
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format, *arguments):
        """Prints errors only."""
        if not str(arguments[1] if len(arguments) > 1 else "").startswith(("2", "3")):
            super().log_message(format, *arguments)


def install() -> None:
    """Installs LiteRT.js beside the page, if it is missing.

    Raises:
        OSError: npm is missing or fails.
    """
    if (HERE / "node_modules" / "@litertjs" / "core" / "dist" / "index.js").is_file():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(
            "The page needs LiteRT.js, and npm, which installs it, is not on the PATH. Install "
            f"Node.js, then: npm ci --omit=dev --prefix {HERE}"
        )
    print("Installing LiteRT.js, once (40 MB) ...", flush=True)
    done = subprocess.run([npm, "ci", "--omit=dev", "--no-audit", "--no-fund"], cwd=HERE)
    if done.returncode:
        raise OSError("npm ci failed: see above.")


def main() -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a .tflite file to open")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free port")
    args = parser.parse_args()
    if args.model is not None and not args.model.is_file():
        raise FileNotFoundError(f"There is no file {str(args.model)!r}.")
    install()

    class WithModel(Handler):
        model = args.model

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(HERE))

    with http.server.ThreadingHTTPServer((args.host, args.port), WithModel) as server:
        host, port = server.server_address[:2]
        print(f"Open http://{host}:{port}/ in a browser. Ctrl+C stops the server.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"Error: {error}")
