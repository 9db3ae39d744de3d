"""State dicts of PyTorch: read from files, taken out of checkpoints, and freed of prefixes."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz")
_PLAIN = ("state_dict", "model", "model_state_dict", "module", "net", "params")
_AVERAGED = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "ema_model", "model_ema_state_dict"),
    "params_ema",
)
# What DistributedDataParallel, torch.compile, Lightning and averaged models put before a name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "_fsdp_wrapped_module.")
# What torch.compile, FSDP and checkpoints of activations put inside a name, where they wrap blocks.
_WRAPPERS = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_MOST_LEVELS = 4  # of checkpoints inside checkpoints
# Counts of training steps, which inference does not use.
_COUNTS = ("num_batches_tracked", "n_averaged")


@dataclasses.dataclass(frozen=True)
class StateDict:
    """A state dict that was read.

    Args:
        arrays: name -> float32 array, without prefixes.
        name: what to call it.
        notes: sentences on what was taken, for reports and messages.
    """

    arrays: Mapping[str, np.ndarray]
    name: str
    notes: tuple[str, ...] = ()


def read_state_dict(source, *, ema: bool = False) -> StateDict | None:
    """Reads a state dict.

    Args:
        source: a state dict or a checkpoint with one, a torch module, or the path of a file with
            one. Nothing in a file is executed.
        ema: take the averaged weights of a checkpoint.

    Returns:
        The state dict; `None` for a string that is no path of such a file.

    Raises:
        TypeError: `source` is none of these.
        ValueError: a file that cannot be read or holds something else; a checkpoint without the
            weights that are asked for.
        ImportError: torch or safetensors is needed and not installed.
    """
    if callable(getattr(source, "state_dict", None)):
        return _taken(source.state_dict(), type(source).__name__, ema)
    if isinstance(source, Mapping):
        return _taken(source, "the state dict", ema)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "source must be a state dict, its path, or the name of a timm model, "
            f"got {source!r:.60} of type {type(source).__name__}."
        )
    path = Path(source)
    if path.suffix not in SUFFIXES:
        if isinstance(source, str):
            return None
        raise ValueError(f"The name of a state dict ends in {', '.join(SUFFIXES)}, got {path}.")
    try:
        return _taken(_read_file(path), str(source), ema)
    except TypeError as error:  # what is read is data, so its type is a value
        raise ValueError(f"{path} holds no state dict: {error}") from None


def clean(state: Mapping, name: str) -> dict[str, np.ndarray]:
    """The arrays of a state dict in float32, without counts of steps.

    Args:
        state: name -> tensor or array.
        name: what to call it.

    Raises:
        TypeError: a key is no name, or a value no array.
        ValueError: a tensor has no values in this process.
    """
    found = {}
    for key, value in state.items():
        if not isinstance(key, str):
            raise TypeError(
                "A state dict maps names to arrays; this one has keys that are no names: "
                f"{key!r:.60}."
            )
        if key.rpartition(".")[2] not in _COUNTS:
            found[key] = _array(value, key)
    return found


def _taken(state, name: str, ema: bool) -> StateDict:
    """Takes the weights out of a checkpoint, and the prefixes off their names."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{name} is a {type(state).__name__}, not a state dict.")
    state, notes = _unwrapped(state, name, ema)
    arrays: dict[str, np.ndarray] = {}
    prefixes: dict[str, int] = {}
    wrappers: dict[str, int] = {}
    for key, array in clean(state, name).items():
        rest = _without_prefixes(key)
        short, prefix = _WRAPPERS.sub("", rest), key.removesuffix(rest)
        if short in arrays:
            raise ValueError(
                f"{name} has two weights {short!r}, apart from prefixes such as "
                f"{prefix or key!r}: it holds several networks. Give one of them."
            )
        arrays[short] = array
        for wrapper in set(_WRAPPERS.findall(rest)):
            wrappers[wrapper] = wrappers.get(wrapper, 0) + 1
        if prefix:
            prefixes[prefix] = prefixes.get(prefix, 0) + 1
    for wrapper, count in wrappers.items():
        notes.append(f"'{wrapper}.' was taken out of {count} of {len(arrays)} names.")
    for prefix, count in prefixes.items():
        notes.append(f"The prefix {prefix!r} was taken off {count} of {len(arrays)} names.")
    return StateDict(arrays, name, tuple(notes))


def _unwrapped(state: Mapping, name: str, ema: bool) -> tuple[Mapping, list[str]]:
    """The state dict inside a checkpoint, or itself, and notes."""
    averaged, plain = (
        [key for key in keys if isinstance(state.get(key), Mapping)] for keys in (_AVERAGED, _PLAIN)
    )
    if ema and not averaged:
        raise ValueError(
            f"{name} has no averaged (EMA) weights: none of {', '.join(_AVERAGED)}. It has "
            f"{_some(state)}. Leave ema out to take its weights."
        )
    if ema or (averaged and not plain):
        found = state[averaged[0]]
        inner = [found[k] for k in _PLAIN if isinstance(found.get(k), Mapping)]
        return (*inner, found)[0], [f"These are the averaged (EMA) weights {averaged[0]!r}."]
    notes = [f"ema=True takes the averaged weights {averaged[0]!r} instead."] if averaged else []
    for _ in range(_MOST_LEVELS):
        inner = next((state[k] for k in _PLAIN if isinstance(state.get(k), Mapping)), None)
        state = state if inner is None else inner
    if any(map(_is_array, state.values())) or not state:
        return state, notes
    key, value = next(iter(state.items()))
    raise TypeError(
        f"A state dict maps names to arrays, got {value!r:.60} for {key!r:.60}. Known checkpoints "
        f"have their weights in {', '.join((*_PLAIN, *_AVERAGED))}."
    )


def _without_prefixes(key: str) -> str:
    while prefix := next((p for p in _PREFIXES if key.startswith(p)), None):
        key = key.removeprefix(prefix)
    return key


def _is_array(value) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def _array(value, key: str) -> np.ndarray:
    if not _is_array(value):
        raise TypeError(f"A state dict maps names to arrays, got {value!r:.60} for {key!r}.")
    try:
        if hasattr(value, "detach"):  # a torch tensor; NumPy has no bfloat16
            value = value.detach().cpu().float().numpy()
        return np.asarray(value, "float32")
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"The weight {key!r} has no values that can be read: {error}") from None


def _read_file(path: Path):
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file  # bfloat16 too: ml_dtypes came with Keras

            return load_file(path)
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ImportError(f"Reading {path} needs {error.name}: pip install {error.name}") from error
    except Exception as error:  # what is raised depends on what was found in the file
        if "weights_only" in str(error):  # torch's advice is to execute the file
            raise ValueError(
                f"{path} is no readable state dict: it holds more than tensors, for example a "
                "whole module, and nothing in a file is executed. Save module.state_dict()."
            ) from error
        raise ValueError(f"{path} is no readable state dict: {error}") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a state dict.")
    return state


def _some(names: Iterable, most: int = 5) -> str:
    shown = [f"{name!s:.60}" for name in names]
    return (", ".join(shown[:most]) or "nothing") + (", ..." if len(shown) > most else "")
