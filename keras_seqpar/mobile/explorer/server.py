"""Serves the page in tflite/web with the data of a network, or copies both for a static server.

Standard library only, so that a file can be shown without Keras.
"""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from keras_seqpar.utils.files import new_folder

FACTS = "explorer.json"
VERSION = 1
MANIFEST = "manifest.json"
# What LiteRT.js and fflate need at run time, below tflite/web/node_modules.
LIBRARIES = (
    "@litertjs/core/dist/index.js",
    "@litertjs/core/wasm",
    "@litertjs/wasm-utils/dist/index.js",
    "fflate/esm/browser.js",
)
PAGE = ("*.html", "*.css", "*.js", "*.svg", "*.webmanifest")
HEADERS = {  # the first two allow a page to use threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
Cutter = Callable[[Sequence[str]], bytes]


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the page, the data below `/data/`, and cutouts."""

    extensions_map = {  # noqa: RUF012
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }
    server: "PageServer"

    def do_GET(self):
        url, cut = urllib.parse.urlsplit(self.path), self.server.cut
        if cut and url.path == f"/data/{FACTS}":
            facts = json.loads((self.server.data / FACTS).read_bytes())
            self._send(json.dumps({**facts, "server": True}).encode(), "application/json")
        elif cut and url.path == "/data/cutout.tflite":
            self._send_cutout(cut, urllib.parse.parse_qs(url.query).get("category", []))
        else:
            if url.path.startswith("/data/"):
                self.directory, self.path = str(self.server.data), url.path.removeprefix("/data")
            super().do_GET()

    def _send_cutout(self, cut: Cutter, categories: list[str]) -> None:
        try:
            with self.server.lock:
                content = cut(categories)
        except ValueError as error:
            self._send(str(error).encode(), "text/plain; charset=utf-8", HTTPStatus.BAD_REQUEST)
        else:
            self._send(content, "application/octet-stream")

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self):
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format, *arguments):
        """Prints nothing: the page shows errors."""


class PageServer(http.server.ThreadingHTTPServer):
    """A server of the page with the data of one network.

    Args:
        page: the folder tflite/web.
        data: a folder with `explorer.json` (`write_page_data`, `data_of_file`).
        host: address to listen on.
        port: 0 for any that is free.
        cut: makes the `.tflite` file of some categories; `None` if the page cannot ask for it.

    Raises:
        OSError: the address cannot be used, for example because another server has the port.
    """

    def __init__(
        self,
        page: str | os.PathLike,
        data: str | os.PathLike,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        cut: Cutter | None = None,
    ):
        self.data, self.cut, self.lock, self.host = Path(data), cut, threading.Lock(), host

        class Handler(_Handler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(page))

        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise OSError(
                f"Cannot listen on {host}:{port} ({error}). Give another --port; 0 takes any that "
                "is free."
            ) from error

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{self.host}:{self.server_port}/"

    def run(self) -> None:
        """Prints the address and serves until interrupted."""
        print(f"Open {self.url} in a browser. Ctrl+C stops the server.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            self.serve_forever()


def data_of_file(path: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Writes the data of the page for a `.tflite` file or a branch pack that exists already.

    Args:
        path: the file, or the folder of the pack.
        folder: where to write; it must not exist yet, or be empty.

    Raises:
        FileNotFoundError: there is no such file, or no pack in the folder.
        OSError: writing failed. No folder is left behind.
    """
    path = Path(path)
    facts: dict = {"version": VERSION, "title": path.stem, "parts": {}, "networks": {}}
    with new_folder(folder) as work:
        if path.is_file():
            shutil.copyfile(path, work / "model.tflite")
            facts["file"] = "model.tflite"
        elif (path / MANIFEST).is_file():
            shutil.copytree(path, work / "pack")
        else:
            raise FileNotFoundError(
                f"There is no .tflite file and no branch pack {str(path)!r}. Give the path of a "
                ".keras file, a .tflite file or a pack, or preset:NAME for a network that comes "
                "with the package."
            )
        (work / FACTS).write_text(json.dumps(facts), "utf-8")


def install(page: str | os.PathLike) -> None:
    """Installs LiteRT.js and fflate beside the page, where they are missing.

    Args:
        page: the folder tflite/web.

    Raises:
        OSError: npm is missing or fails.
    """
    if all((Path(page) / "node_modules" / name).exists() for name in LIBRARIES):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(
            "The page needs LiteRT.js, and npm, which installs it, is not on the PATH. Install "
            f"Node.js, then: npm ci --omit=dev --prefix {page}"
        )
    print("Installing LiteRT.js, once (40 MB) ...", flush=True)
    done = subprocess.run([npm, "ci", "--omit=dev", "--no-audit", "--no-fund"], cwd=page)
    if done.returncode:
        raise OSError("npm ci failed: see above.")


def export(page: str | os.PathLike, data: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Copies the page and its data to a folder that any static server can serve.

    Args:
        page: the folder tflite/web, with its libraries (`install`).
        data: as for `PageServer`.
        folder: where to write; it must not exist yet, or be empty.

    Raises:
        OSError: writing failed. No folder is left behind.
    """
    page = Path(page)
    with new_folder(folder) as work:
        for path in (found for pattern in PAGE for found in page.glob(pattern)):
            shutil.copyfile(path, work / path.name)
        for name in LIBRARIES:
            source, target = page / "node_modules" / name, work / "node_modules" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
        shutil.copytree(data, work / "data")
