"""Streams: a network that runs on frame after frame and computes only what changed.

Needs NumPy and an interpreter only, unless it is given a Keras model.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.frame_stream import Stream
from keras_seqpar.selective.litert_engine.opening import open_file
from keras_seqpar.selective.network import Network
from keras_seqpar.utils.names import unknown_name

if TYPE_CHECKING:
    import keras

ENGINES = ("litert", "keras")


def stream(
    network: Union[str, os.PathLike, "keras.Model"],
    *,
    threshold=0.0,
    detector: Detector | None = None,
    include=None,
    exclude=None,
    color: str = "rgb",
    engine: str | None = None,
    input_shape: Sequence[int] | None = None,
    num_threads: int = 1,
    signature: str | None = None,
    categories: Sequence[str] | None = None,
    interpreter: str | None = None,
    memory_limit: int | None = None,
) -> Stream:
    """Makes a stream: a network that computes again only what changed from frame to frame.

    With a threshold of 0 every output equals that of the network for the whole frame: bit for bit
    on LiteRT, in int8 and in float32, and up to rounding on Keras. For a camera, whose frames
    differ by noise, take `threshold="auto"`.

    A .tflite file, from this package or of others, runs on LiteRT, the fast engine on CPUs. Of a
    branch pack only the trunk and the branches of `categories` are read; it gives the scores that
    `mobile.PackRunner` gives, and `none_of_these` where the pack has a threshold for it. A
    Keras model is converted in memory to float32 for LiteRT, where Keras runs on TensorFlow and an
    interpreter is installed, and otherwise runs layer by layer on Keras; a note says which. Its
    weights are those at the time of the call. What cannot be computed in parts, such as
    squeeze-and-excitation, is computed whole, with all that comes after it; `report` names it
    before anything runs.

    The first frame takes about as long as a dense run, plus loading. Where so much changes that a
    dense run is faster, everything is computed; the stream measures both while it runs.

    Args:
        network: the path of a .tflite file for frames of one fixed size; or of a branch pack, which
            is a folder; or a functional Keras model of images `(height, width, channels)`, whose
            further inputs, such as gains, are vectors.
        threshold: a position changed if a channel differs by more than this, in the units of the
            frames: one number, one per channel, or `"auto"`, which learns the noise from the first
            five frames; see `Detector`.
        detector: a detector with settings of your own, in place of `threshold`. Several streams
            may be given the same one; each learns in a copy.
        include: look for changes only here: a boolean `(height, width)` map, or boxes
            `(top, left, bottom, right)` in pixels.
        exclude: do not look for changes here; same types as `include`.
        color: order of the channels of the frames: `"rgb"`, or `"bgr"` as OpenCV reads them. The
            network and the detector get RGB either way.
        engine: `"litert"` or `"keras"` to force one.
        input_shape: `(height, width, channels)`, for a Keras model that leaves sizes open.
        num_threads: number of CPU threads of LiteRT.
        signature: of a file with several signatures, the one to run; by default the first.
        categories: of a branch pack, labels or node ids of the categories to score, in the order
            wanted; all by default.
        interpreter: a name in `keras_seqpar.mobile.runtime.INTERPRETERS`; by default the first
            that is installed.
        memory_limit: bytes that the stream may take, about; a network that needs more is refused
            before anything is allocated. `None` for no limit.

    Returns:
        The stream; call it with frames.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: `network` is neither a path nor a Keras model, or an argument has the wrong
            type.
        ValueError: the network is damaged, does not take images of one fixed size, keeps a state
            of its own, or needs more memory than `memory_limit`; or an argument is out of range.
        ImportError: no interpreter is installed.

    Example:

    >>> camera = stream("pets.tflite", threshold=20)
    >>> for frame in (images[0], images[0]):  # (height, width, channels); nothing changes
    ...     result = camera(frame)
    ...     print(result.output.shape, result.stats.mode, result.stats.saved)
    (1, 2) dense 0.0
    (1, 2) cached 1.0
    """
    opened = open_network(
        network,
        engine=engine,
        input_shape=input_shape,
        num_threads=num_threads,
        signature=signature,
        categories=categories,
        interpreter=interpreter,
        memory_limit=memory_limit,
    )
    return Stream(
        opened,
        threshold=threshold,
        detector=detector,
        include=include,
        exclude=exclude,
        color=color,
    )


def open_network(
    network: Union[str, os.PathLike, "keras.Model"],
    *,
    engine: str | None = None,
    input_shape: Sequence[int] | None = None,
    num_threads: int = 1,
    signature: str | None = None,
    categories: Sequence[str] | None = None,
    interpreter: str | None = None,
    memory_limit: int | None = None,
) -> Network:
    """Opens what a stream runs; see `stream` for the arguments and errors."""
    if engine is not None and engine not in ENGINES:
        raise ValueError(unknown_name("engine", engine, ENGINES))
    on_litert: dict[str, Any] = {
        "num_threads": num_threads,
        "interpreter": interpreter,
        "memory_limit": memory_limit,
    }
    if isinstance(network, (str, os.PathLike)):
        if engine == "keras":
            raise ValueError(
                f"engine='keras' is for Keras models; {os.fspath(network)!r} is a file, which only "
                "LiteRT runs. Leave engine out."
            )
        if input_shape is not None:
            raise ValueError(
                f"input_shape is for Keras models; the frames of {os.fspath(network)!r} have the "
                "size that it was converted for. Leave it out."
            )
        return open_file(network, signature=signature, categories=categories, **on_litert)
    from keras_seqpar.selective.keras_engine.opening import open_model  # imports Keras

    if signature is not None:
        raise ValueError("signature is for .tflite files only: a Keras model has none.")
    if categories is not None:
        raise ValueError(
            "categories is for branch packs. For a Keras model take "
            "keras_seqpar.cutout(model, categories)."
        )
    return open_model(network, engine, input_shape, **on_litert)
