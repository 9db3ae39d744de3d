"""What all tests share: quiet backends, markers, and what a missing dependency means.

Two rules. A test that has no meaning on a backend is deselected there (`only_backend`), and so are
folders whose tests compute nothing in a backend, or run commands whose parts have tests of their
own on every backend (`ON_TENSORFLOW`). A test that cannot run for want of something that could be
there is skipped with the reason, and with `--no-skips`, the default where CI=true, such a skip is a
failure.
"""

import gc
import importlib.metadata
import importlib.util
import itertools
import math
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
# One thread per process: the networks are tiny, and tests run side by side. `make test-threads`
# sets these variables otherwise, for the kernels that users have.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# TensorFlow 2.21's oneDNN kernels crash now and then in training of networks this narrow.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# JAX compiles every operation of every shape: quickly, since each runs only a few times.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
ON_TENSORFLOW = {
    *("benchmarks", "data", "docs", "hierarchy", "plots", "recipes", "utils"),
    *("test_results.py", "test_server.py"),
}
ON_ALL_BACKENDS = {
    *("data/test_augmentation.py", "data/test_batches.py", "data/test_scene_crops.py"),
    *("recipes/test_segment.py", "recipes/test_train.py"),
}
# Files of more than 20 s come first: at the end none of them keeps one process waiting for another.
LONG = {
    *("test_builders.py", "test_checkpoints.py", "test_classification.py", "test_converting.py"),
    *("test_cutout.py", "test_distribution.py", "test_frozen.py", "test_packing.py"),
}

# These have an environment of their own: `make test-qat` makes it and runs them there.
collect_ignore = [] if importlib.util.find_spec("tensorflow_model_optimization") else ["qat"]

# The same examples in every run, or new ones: `make test-random` draws those from a seed it prints.
hypothesis.settings.register_profile(
    "fixed",
    deadline=None,  # the first call of a network compiles
    derandomize=True,
    max_examples=12,
    phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],  # slow
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "random",
    hypothesis.settings.get_profile("fixed"),
    derandomize=False,
    max_examples=50,
    print_blob=True,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_addoption(parser):
    in_ci = os.environ.get("CI", "").lower() in ("1", "true")
    parser.addoption(
        "--no-skips",
        action="store_true",
        default=in_ci,
        help="a skipped test is a failure (the default where CI=true)",
    )


def pytest_configure(config):
    """Imports the backend, with full float32 precision on accelerators too, for comparisons.

    A process that only distributes the tests needs none.
    """
    if not hasattr(config, "workerinput"):
        compiled = tempfile.TemporaryDirectory()  # what JAX compiled once, for all processes
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled.name)
        config.add_cleanup(compiled.cleanup)
        if getattr(config.option, "dist", "no") != "no":
            return
    os.fsync = lambda file: None  # no file of a test needs to survive a loss of power
    if importlib.util.find_spec("torch"):
        import torch  # before TensorFlow: the other order can crash

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        for name in ("normal", "truncated_normal", "uniform"):
            setattr(jax.random, name, _of_few_lengths(getattr(jax.random, name)))


def _of_few_lengths(draw):
    """A random function of JAX that is compiled for a few lengths, not for every shape of weights.

    The values are the same: the n-th one depends on the key and on n only.
    """
    import jax
    import numpy as np

    def random(key, *args, shape=(), dtype=None, **kwargs):
        count = math.prod(shape)
        if isinstance(key, jax.core.Tracer) or dtype != "float32" or count > 4**8:
            return draw(key, *args, shape=shape, dtype=dtype, **kwargs)
        length = 4 ** max(2, math.ceil(math.log(max(count, 1), 4)))
        values = draw(key, *args, shape=(length,), dtype=dtype, **kwargs)
        if not isinstance(values, jax.core.Tracer):
            values = np.asarray(values)  # which is not compiled for the shape either
        return values[:count].reshape(shape)

    return random


def pytest_report_header(config):
    backend = os.environ.get("KERAS_BACKEND", "the backend of keras.json")
    return f"keras {importlib.metadata.version('keras')} on {backend}"


def pytest_collection_modifyitems(config, items):
    """Deselects what belongs to other backends, and puts long files first."""
    import keras

    backend = keras.backend.backend()
    kept, dropped = [], []
    for item in items:
        path = item.path.relative_to(ROOT / "tests")
        fits = all(backend in marker.args for marker in item.iter_markers("only_backend"))
        if path.parts[0] in ON_TENSORFLOW and path.as_posix() not in ON_ALL_BACKENDS:
            fits = fits and backend == "tensorflow"
        (kept if fits else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = sorted(kept, key=lambda item: item.path.name not in LONG)
    gc.collect()
    gc.freeze()  # libraries and tests stay: no later collection needs to look at them
    gc.set_threshold(20_000, 20, 20)  # half of its time: networks are many objects that stay


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return _refuse_skip(item.config, report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    return _refuse_skip(collector.config, report)


def _refuse_skip(config, report):
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption("no_skips"):
        report.outcome = "failed"
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"{report.nodeid}: a skip is a failure here (--no-skips): {reason}"
    return report


@pytest.fixture(scope="session")
def backend() -> str:
    """Name of the Keras backend: "tensorflow", "jax" or "torch"."""
    import keras

    return keras.backend.backend()


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
    """The folder with real data beside the repository; `tfds/` in it has Imagenette."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the data folder {folder}")
    return folder


@pytest.fixture(scope="session")
def tflite_runtime_python() -> pathlib.Path:
    """The interpreter of an environment with tflite-runtime and without TensorFlow."""
    path = os.environ.get("TFLITE_RUNTIME_PYTHON")
    if not path:
        pytest.skip("needs TFLITE_RUNTIME_PYTHON; `make test` makes that environment")
    return pathlib.Path(path)


@pytest.fixture(scope="session")
def mediapipe_python() -> pathlib.Path:
    """The interpreter of an environment with MediaPipe, which knows nothing of this package."""
    path = os.environ.get("MEDIAPIPE_PYTHON")
    if not path:
        pytest.skip("needs MEDIAPIPE_PYTHON; `make test` makes that environment")
    return pathlib.Path(path)


@pytest.fixture
def steady_clock(monkeypatch):
    """A clock that goes on by a second at every look: what is measured is the same everywhere."""
    looks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(looks)))


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random state, whatever ran before it."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _passes_by_cost(monkeypatch):
    """Streams choose between boxes and full passes by counted costs, not by measured times."""
    from keras_seqpar.selective.planning import engine, passes

    class ByCost(passes.Passes):
        def choose(self, cost):
            return passes.BOXES if cost < self._full_cost and not self.is_stale else passes.FULL

    monkeypatch.setattr(engine, "Passes", ByCost)
