"""timm's networks with weights made from their names, and what they compute.

As a script, in an environment with timm and torch, it writes what the tests compare with:

    python tests/references/timm_nets.py

The values do not depend on versions: NumPy keeps the stream of `RandomState` fixed.
"""

import functools
import json
import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".npz")
CATEGORIES = 10
SIZES = ((64, 64), (71, 97))
SAMPLES = 100  # values kept of each tensor
NETS = {  # timm's name -> the family here
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152, 200)},
    **{
        f"convnextv2_{size}": f"convnext_v2_{size}"
        for size in ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge")
    },
    **{f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}" for i in range(5)},
}
COMPARED = tuple(name for name in NETS if not name.endswith(("large", "huge")))  # by values


@functools.cache
def _normal() -> np.ndarray:
    """A prime number of normal values, so that no shape repeats with their period."""
    return np.random.RandomState(0).standard_normal(1_000_003).astype("float32")


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A value for a weight of timm's that no initializer gives, from its name alone."""
    random = np.roll(_normal(), zlib.crc32(name.encode()) % len(_normal()))
    values = np.resize(random, shape)
    if name.endswith("running_var"):
        return 0.5 + np.abs(values)
    if len(shape) > 1:
        return values / np.float32(np.sqrt(np.prod(shape[1:])))
    gains = ".bn", "bn1", "norm", "downsample.1.weight", "stem.1"
    if name.endswith("weight") and "grn" not in name and any(part in name for part in gains):
        return 0.75 + 0.25 * np.tanh(values)
    return 0.2 * values


def state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Values for a whole net."""
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items()}


def images(size: tuple[int, int]) -> np.ndarray:
    """Two normalized images, `(2, height, width, 3)`."""
    shape = (2, *size, 3)
    return np.resize(np.roll(_normal(), size[0] * size[1]), shape)


def sample(tensor: np.ndarray) -> np.ndarray:
    """A few values of a channels-last tensor, always the same."""
    values = tensor.reshape(-1)
    return values[np.random.RandomState(len(values)).choice(len(values), min(SAMPLES, len(values)))]


def import_timm():
    """Imports timm, also where torchvision was built for an accelerator and torch was not.

    Such a torchvision cannot load its compiled operators and then fails to describe them.
    Declaring them is enough for the import; nothing here calls them.
    """
    import torch

    try:
        import timm
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_timm.library = library  # the declarations live as long as it does
        import timm
    return timm


def make(name: str):
    """timm's net with the values of `weight`."""
    import torch

    net = import_timm().create_model(name, num_classes=CATEGORIES).eval()
    state = net.state_dict()
    values = state_dict({key: tuple(value.shape) for key, value in state.items()})
    for key in values:
        if key.endswith("num_batches_tracked"):
            values[key] = np.zeros((), "int64")
    net.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in values.items()})
    return net


def taps(net, images: np.ndarray) -> dict[str, np.ndarray]:
    """What timm's net computes: the output of stages, pooled features and logits."""
    import torch

    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        if hasattr(net, "conv_head"):  # of an EfficientNet: the end of the trunk alone
            found = {"stage7": net.blocks(net.bn1(net.conv_stem(x)))}
            last = net.forward_features(x)
        else:
            last, stages = net.forward_intermediates(x)
            found = {f"stage{i}": y for i, y in enumerate(stages[-4:], 1)}
        found |= {"pooled": net.forward_head(last, pre_logits=True), "logits": net(x)}
        found = {key: y.numpy() for key, y in found.items()}
    return {key: y.transpose(0, 2, 3, 1) if y.ndim == 4 else y for key, y in found.items()}


def parameters(name: str) -> int:
    """How many parameters timm's net with 1,000 categories has."""
    import torch

    timm = import_timm()
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters())


def main() -> None:
    """Writes the references."""
    timm = import_timm()
    stored = {}
    about = {"timm": timm.__version__, "parameters": {name: parameters(name) for name in NETS}}
    about["shapes"] = {}
    for name in COMPARED:
        net = make(name)
        shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
        about["shapes"][name] = shapes
        for size in SIZES:
            for tap, values in taps(net, images(size)).items():
                stored[f"{name}/{size[0]}x{size[1]}/{tap}"] = sample(values)
        print(name, {k: f"{np.abs(v).max():.3g}" for k, v in taps(net, images(size)).items()})
    np.savez_compressed(FILE, about=np.array(json.dumps(about)), **stored)
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
