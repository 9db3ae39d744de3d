"""Images that are decoded when they are needed, because they do not fit into memory.

Grain (github.com/google/grain) reads the batches ahead of their use, in threads or in processes of
its own. Which images a batch has is known before, so batches are the same for every number of
processes, and reading can begin at every batch.
"""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.data.sources.encoded import Some, in_memory
from keras_seqpar.utils.images import decode, read, square_of

AHEAD = 2  # batches per process that are decoded before they are asked for


class Decoding:
    """Decodes images when they are asked for.

    Args:
        places: the encoded images: bytes, or paths of files.
        names: their names, for messages.
        size: side of the square images in pixels.
        spec: the data set, for messages.
    """

    def __init__(self, places: Sequence, names: Sequence, size: int, spec: str):
        self.places, self.names, self.size, self.spec = places, names, size, spec

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Decodes images on all cores: `(images, size, size, 3)` uint8."""
        out = np.empty((len(indices), self.size, self.size, 3), "uint8")

        def read(i: int) -> None:
            out[i] = decode_place(self.places[int(indices[i])], self.size)

        if bad := try_all(read, len(indices)):
            reasons = {self.names[indices[i]]: why for i, why in bad.items()}
            raise ValueError(unreadable(reasons, self.spec))
        return out

    def take(self, rows: np.ndarray) -> "Decoding":
        """The same for some of the images."""
        names = tuple(self.names[i] for i in rows)
        return Decoding(Some(self.places, rows), names, self.size, self.spec)


def decode_place(place: bytes | Path, size: int) -> np.ndarray:
    """Decodes an encoded image or a file, with the same messages for both."""
    return decode(content_of(place), size)


def content_of(place: bytes | Path) -> bytes:
    """The bytes of an encoded image."""
    return place if isinstance(place, bytes) else place.read_bytes()


@functools.cache
def fast_resizing() -> Callable[[Any, np.ndarray], None]:
    """Resizes as `decode` does, into an array: by Numba, or by Pillow; the bits are the same.

    Numba compiles for a second or two, which pays off where images are read again and again.
    """
    try:
        from keras_seqpar.data.resizing import square_into
    except (ImportError, RuntimeError):  # not installed; or no folder where it may keep its code
        return _pillow_square_into
    return square_into


def _pillow_square_into(image, out: np.ndarray) -> None:
    out[:] = square_of(image, len(out))


def try_all(work: Callable[[int], object], count: int) -> dict[int, str]:
    """Runs `work(0) ... work(count - 1)` on all cores; returns the failed numbers with reasons."""

    def attempt(i: int) -> str | None:
        try:
            work(i)
        except Exception as error:  # broken files make decoders raise errors of many kinds
            return f"{type(error).__name__}: {error}"
        return None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return {i: why for i, why in enumerate(pool.map(attempt, range(count))) if why}


def unreadable(reasons: Mapping[str, str], spec: str, most: int = 8) -> str:
    """The message on images that cannot be decoded: name -> reason."""
    shown = "".join(f"\n  {name} ({why})" for name, why in list(reasons.items())[:most])
    rest = f"\n  ... and {len(reasons) - most} more" if len(reasons) > most else ""
    return (
        f"{len(reasons)} unreadable or truncated image(s) in {spec!r}:{shown}{rest}\n"
        "Replace or remove them, or leave them out with skip_unreadable (--skip_unreadable)."
    )


class _Batches:
    """What Grain reads: decoded batches by number. It is sent to the processes that decode.

    Errors are returned, so that they are raised, with the names of the images, where the batch is
    used.
    """

    def __init__(self, decoding: Decoding, order: np.ndarray):
        self.places, self.size, self.order = decoding.places, decoding.size, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step) -> Any:
        indices = self.order[int(step)]
        out = np.empty((len(indices), self.size, self.size, 3), "uint8")
        bad, resize = {}, fast_resizing()
        for i, index in enumerate(indices.tolist()):
            try:
                resize(read(content_of(self.places[index]), self.size), out[i])
            except Exception as error:  # broken files make decoders raise errors of many kinds
                bad[index] = f"{type(error).__name__}: {error}"
        return bad or out


class ReadAhead:
    """Decodes batches of images before they are asked for, usually in turn.

    Args:
        decoding: the images.
        workers: processes that decode; 0 for threads of this process, one for each core. Images
            whose encoded bytes are in memory are always decoded in threads.

    Raises:
        ImportError: Grain is not installed.
    """

    def __init__(self, decoding: Decoding, workers: int = 0):
        try:
            import grain  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"{decoding.spec!r} does not fit into memory, and reading it ahead needs Grain. "
                "Install it with pip install 'keras-seqpar[train]', or keep more in memory "
                "(memory_limit, --data_memory)."
            ) from error
        self.decoding = decoding
        self.workers = 0 if in_memory(decoding.places) else workers
        self.order = np.zeros((0, 0), "int64")
        self._next = 0
        self._iterator: Any = None
        self._first: collections.deque = collections.deque()

    def begin(self, order: np.ndarray, step: int = 0) -> None:
        """Sets what to read.

        Args:
            order: `(steps, images per step)` indices of images.
            step: the first step that will be asked for.
        """
        self.close()
        self.order, self._next = np.asarray(order, "int64"), step

    def __getitem__(self, step: int) -> np.ndarray:
        """The images of a step; only those of the next one were read ahead.

        Returns:
            `(images, size, size, 3)` uint8.

        Raises:
            IndexError: there is no such step.
            ValueError: images are unreadable.
        """
        if not 0 <= step < len(self.order):
            raise IndexError(
                f"There are {len(self.order)} batches; there is none of number {step}."
            )
        if self._iterator is None or step != self._next:
            self.close()
            self._iterator = self._open(step)
        images = self._first.popleft() if self._first else next(self._iterator)
        self._next = step + 1
        if isinstance(images, dict):
            names, spec = self.decoding.names, self.decoding.spec
            raise ValueError(unreadable({names[i]: why for i, why in images.items()}, spec))
        return images

    def _open(self, step: int) -> Any:
        import grain
        from absl import flags

        batches = grain.MapDataset.source(_Batches(self.decoding, self.order[step:]))
        threads = 1 if self.workers else os.cpu_count() or 1
        read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(AHEAD, threads))
        ahead = batches.to_iter_dataset(read)
        if not self.workers:
            return iter(ahead)
        if not flags.FLAGS.is_parsed():  # outside of commands, as in notebooks; Grain reads its own
            flags.FLAGS.mark_as_parsed()
        ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(self.workers, AHEAD))
        # Through pipes: containers often have little shared memory.
        options = grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)
        iterator = iter(grain.experimental.WithOptionsIterDataset(ahead, options))
        with _without_main():  # Grain starts each process when its first batch is needed
            first = list(itertools.islice(iterator, self.workers))
        self._first.extend(first)
        return iterator

    def get_state(self) -> dict[str, Any]:
        """What `set_state` goes on from, also with another number of processes: plain numbers."""
        return {"next_step": self._next, "steps": len(self.order)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on where `get_state` was called, in the same order of images.

        Raises:
            ValueError: it is the state of another number of batches.
        """
        if state["steps"] != len(self.order):
            raise ValueError(
                f"This state is of {state['steps']} batches, but there are {len(self.order)}. Give "
                "begin the order of the images that it was made with."
            )
        self.begin(self.order, state["next_step"])

    def close(self) -> None:
        """Ends the threads and processes that read ahead."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None
            self._first.clear()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keeps new processes from importing the running command, with Keras and a backend."""
    main = sys.modules["__main__"].__dict__
    kept: dict[str, Any] = {}
    for name in ("__file__", "__spec__"):
        if name in main:
            kept[name] = main.pop(name)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)
