"""Data-parallel training on several devices, with each backend's own methods.

JAX: `keras.distribution.DataParallel`, on one machine or, with the variables
KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID set, on several. A batch is
computed as one, batch statistics included.

TensorFlow: `tf.distribute.MirroredStrategy`, on one machine. Without GPUs the processor is divided
into logical devices.

torch: one process per device, on one machine or several, started by torch's own launcher:

    torchrun --nproc_per_node 4 recipes/train.py --devices 4 ...

On TensorFlow and torch each device has its own batch statistics.
"""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras

from keras_seqpar.data.batches import Share


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
        return Share(self.process, self.processes, self.pieces, self.joined)

    def connect(self, variables: Sequence) -> None:
        """Makes the processes average their gradients (torch; elsewhere the backend does)."""
        if keras.backend.backend() != "torch" or self.processes == 1:
            return
        import torch.distributed as dist

        def average(parameter) -> None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= self.processes

        for variable in variables:
            dist.broadcast(variable.value.data, 0)
            variable.value.register_post_accumulate_grad_hook(average)

    @property
    def steps_to_agree(self) -> int:
        """The processes agree on something only every so many steps: to do so, they wait."""
        return 1 if self.processes == 1 else 16

    def first_says(self, yes: bool) -> bool:
        """What the first process says."""
        if keras.backend.backend() != "torch" or self.processes == 1:
            return yes
        import torch
        import torch.distributed as dist

        said = torch.tensor([yes])
        dist.broadcast(said, 0)
        return bool(said)

    def mean(self, value):
        """The mean of a number or an array over all processes."""
        if keras.backend.backend() != "torch" or self.processes == 1:
            return value
        import torch
        import torch.distributed as dist

        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return total.numpy() / self.processes


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
    if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ:
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
