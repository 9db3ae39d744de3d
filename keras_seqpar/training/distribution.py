"""Data-parallel training on several devices, with each backend's own methods.

A batch teaches what it teaches one device: batch normalizations use the statistics of the whole
batch, and the devices share the validation.

JAX: `keras.distribution.DataParallel`, on one machine or, with the variables
KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID set, on several.

TensorFlow: `tf.distribute.MirroredStrategy`, on one machine. Without GPUs the processor is divided
into logical devices.

torch: `DistributedDataParallel`, one process per device, on one machine or several, started by
torch's own launcher:

    torchrun --nproc_per_node 4 recipes/train.py --devices 4 ...
"""

import contextlib
import dataclasses
import gc
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.data.batches import Share
from keras_seqpar.networks.graph import leaf_layers, replace_moments


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that train together, as one process sees them.

    Args:
        count: number of devices, over all processes.
        process: number of this process, from 0.
        processes: number of processes; each gets its part of every batch.
        pieces: number of pieces of a batch that are computed separately.
        joined: whether the processes compute every batch together, as one.
        strategy: TensorFlow's strategy, or `None`.
    """

    count: int = 1
    process: int = 0
    processes: int = 1
    pieces: int = 1
    joined: bool = False
    strategy: Any = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.process == 0

    def scope(self) -> Any:
        """The context to build and compile networks in."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    @property
    def share(self) -> Share:
        """This process's part of every batch."""
        return Share(self.process, self.processes, self.pieces)

    @property
    def apart(self) -> bool:
        """Whether each process computes its part of a batch by itself (torch)."""
        return self.processes > 1 and not self.joined

    def synchronize(self, network: keras.Model) -> None:
        """Makes batch normalizations use the statistics of the whole batch, over all devices."""
        for layer in leaf_layers(network):
            if isinstance(layer, keras.layers.BatchNormalization):
                if self.strategy:
                    layer.synchronized = True
                elif self.apart:  # Keras has it for TensorFlow only
                    replace_moments(layer, _torch_moments)

    @contextlib.contextmanager
    def connected(self, trainer: keras.Model) -> Iterator[None]:
        """Makes the processes average their gradients by torch's `DistributedDataParallel`.

        On JAX and TensorFlow, the backend does it and this does nothing.

        Args:
            trainer: the compiled model that `fit` trains in the block.
        """
        if not self.apart:
            yield
            return
        import torch

        class Forward(torch.nn.Module):
            def __init__(self, call, variables):
                super().__init__()
                self.call = call
                self.weights = torch.nn.ParameterList(v.value for v in variables)

            def forward(self, inputs):
                return self.call(inputs, training=True)

        call = trainer.call
        parallel: Any = torch.nn.parallel.DistributedDataParallel(
            Forward(call, trainer.trainable_variables)
        )

        def call_in_parallel(inputs, training=None, mask=None):
            return parallel(inputs) if training else call(inputs, training=training)

        trainer.call = call_in_parallel
        try:
            yield
        finally:
            trainer.call, parallel = call, None
            gc.collect()  # removes its hooks from the weights

    def gather(self, values) -> np.ndarray:
        """Numbers of all processes.

        Args:
            values: the numbers of this process, an array of the same shape in all.

        Returns:
            `(processes, ...)` float64.
        """
        found = np.asarray(values, "float64")
        if self.processes == 1:
            return found[None]
        if keras.backend.backend() == "jax":
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(found), "float64")
        import torch
        import torch.distributed as dist

        parts = [torch.empty(found.shape, dtype=torch.float64) for _ in range(self.processes)]
        dist.all_gather(parts, torch.tensor(found))
        return np.stack([part.numpy() for part in parts])

    def first_says(self, yes: bool) -> bool:
        """What the first process says."""
        return bool(self.gather(yes)[0])

    @property
    def steps_to_agree(self) -> int:
        """The processes agree on something only every so many steps: to do so, they wait."""
        return 1 if self.processes == 1 else 16

    def mean(self, values) -> np.ndarray:
        """The mean, over all processes, of numbers that each counts by itself."""
        return self.gather(values).mean(0) if self.apart else np.asarray(values)

    def add_up(self, variables: Sequence[keras.Variable]) -> None:
        """Replaces what each process counted by itself by the sums over all processes."""
        if self.apart:
            for variable in variables:
                variable.assign(self.gather(keras.ops.convert_to_numpy(variable)).sum(0))


ONE_DEVICE = Devices()


def use(count: int, batch_size: int) -> Devices:
    """Prepares the backend; call it before anything else uses the devices.

    Args:
        count: number of devices, over all processes.
        batch_size: images per step, over all devices.

    Raises:
        ValueError: another number of devices, or the batch cannot be split evenly.
    """
    if batch_size % count:
        raise ValueError(
            f"A batch of {batch_size} cannot be split evenly over {count} devices. Choose a "
            f"--batch_size that is a multiple of {count}."
        )
    if count == 1:
        return ONE_DEVICE
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[keras.backend.backend()](count)


def _jax(count: int) -> Devices:
    if any(name.startswith("KERAS_DISTRIBUTION_") for name in os.environ):
        keras.distribution.initialize()
    import jax

    found = keras.distribution.list_devices()
    if len(found) != count:
        raise ValueError(
            f"JAX has {len(found)} devices ({', '.join(found)}), --devices says {count}. To "
            "simulate them on a processor: "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={count}."
        )
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=found, auto_shard_dataset=False)
    )
    return Devices(count, jax.process_index(), jax.process_count(), joined=True)


def _tensorflow(count: int) -> Devices:
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus:
        if gpus < count:
            raise ValueError(f"TensorFlow has {gpus} GPUs, --devices says {count}.")
        names = [f"GPU:{i}" for i in range(count)]
    else:
        names = [f"CPU:{i}" for i in range(count)]
        (processor,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        try:
            tf.config.set_logical_device_configuration(processor, parts)
        except RuntimeError as error:  # TensorFlow has been initialized already
            if len(tf.config.list_logical_devices("CPU")) < count:
                raise ValueError(
                    f"TensorFlow cannot make {count} devices of the processor any more: {error}"
                ) from error
    return Devices(count, pieces=count, strategy=tf.distribute.MirroredStrategy(names))


def _torch(count: int) -> Devices:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes != count:
        raise ValueError(
            f"There are {processes} processes, --devices says {count}. On torch each device has "
            f"one: torchrun --nproc_per_node {count} recipes/train.py --devices {count} ..."
        )
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group()
    return Devices(count, dist.get_rank(), processes, pieces=count)


def accelerator_peak() -> int | None:
    """The most bytes that the backend took of an accelerator; `None` on a processor."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        found = jax.local_devices()[0].memory_stats()
        return found["peak_bytes_in_use"] if found else None
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def _torch_moments(inputs, axes):
    """Mean and variance over the parts of a batch that all processes have.

    torch's `SyncBatchNorm` does it on GPUs only, and replaces torch's own layers, not Keras's.

    Args:
        inputs: this process's part of the batch, as large as the others'.
        axes: the axes to reduce.
    """
    import torch
    import torch.distributed as dist

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            total = values.clone()
            dist.all_reduce(total)
            return total

        @staticmethod
        def backward(ctx, gradient):
            total = gradient.clone()
            dist.all_reduce(total)
            return total

    parts = torch.stack([torch.mean(inputs, axes), torch.mean(torch.square(inputs), axes)])
    mean, square = Sum.apply(parts) / dist.get_world_size()
    return mean, square - torch.square(mean)
