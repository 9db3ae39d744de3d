"""Trains several networks under the same budget and compares them: one command per study.

    python recipes/study.py baselines -- --setting two_cores --data_dir DIR
    python recipes/study.py baselines --seeds 3 -- --dataset folder:PATH --epochs 40
    python recipes/study.py nesting -- --dataset folder:PATH --epochs 20

What follows `--` are flags of recipes/train.py, the same for every network. The studies:

    baselines   a SeqPar network and its cutouts; the plain network trained on all categories;
                the plain network trained on each subset alone (arXiv 2308.05128, table 2)
    training    the SeqPar network trained alone, and with the plain one as its teacher
    nesting     one level and one branch; superclasses of like, unlike, random and WordNet's
                categories; 2, 3 and 4 split-points (table 4)

Networks lie in --output: those that are finished are not trained again, and one that was
interrupted is resumed. The network of the last epoch is measured, so that nothing is chosen on
the images it is measured on. Tables are in Markdown; means over the seeds, and in brackets
their standard deviation.
"""

import dataclasses
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import evaluate
import keras
import numpy as np
import run_folder
import train
from options import Options

import keras_seqpar as sp
from keras_seqpar import data, hierarchy
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts

TRAIN = Path(__file__).with_name("train.py")
ROUNDS = 10  # of the latency: every file has 20 runs per round; the medians' median is taken


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="study")
    options.group(
        "Study",
        ("integer", "seeds", 1, "Networks per case; their seeds are 0, 1, ...", 1),
        ("list", "subset", None, "Labels of the cutout; default: both halves of the categories."),
        ("string", "output", "runs/studies", "Folder for the networks and the results."),
        ("boolean", "int8", True, "baselines: also convert to int8 and measure (TensorFlow)."),
    )
    return options


@dataclasses.dataclass(frozen=True)
class Study:
    """What all cases of a study share.

    Args:
        shared: flags of train.py.
        folder: where the networks lie.
        seeds: how many networks per case.
        dataset: the data, both splits.
        subsets: name -> labels of a cutout.
    """

    shared: Sequence[str]
    folder: Path
    seeds: int
    dataset: data.Dataset
    subsets: Mapping[str, tuple[str, ...]]

    def network(self, case: str, flags: Sequence[str], seed: int) -> keras.Model:
        """Trains a network, or resumes that, or loads the finished one."""
        folder = self.folder / f"{case.replace(' ', '_')}-{seed}"
        last = folder / "last.keras"
        if not last.exists():
            print(f"== {case}, seed {seed}", flush=True)
            resume = ["--resume"] if (folder / "flags.json").exists() else []
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, TRAIN, *self.shared, *flags]
                + [f"--seed={seed}", f"--output={folder}", *resume]
            )
            if done.returncode:
                raise ValueError(f"The training of {case!r} failed: see above.")
            print(f"== {time.perf_counter() - started:.0f} s", flush=True)
        return load_network(last)


def baselines(study: Study) -> dict[str, list[str]]:
    """Name -> flags of the networks of table 2."""
    plain = f"--network={train.PLAIN}"
    own = {
        f"plain on {name}": [plain, f"--categories={','.join(labels)}"]
        for name, labels in study.subsets.items()
    }
    return {"seqpar": [], "plain on all": [plain], **own}


def training(study: Study) -> dict[str, list[str]]:
    """Name -> flags: without and with a teacher."""
    plain = [f"--network={train.PLAIN}"]
    study.network("plain on all", plain, 0)
    teacher = [f"--teacher={study.folder / 'plain_on_all-0' / 'last.keras'}"]
    return {"seqpar": [], "teacher": teacher}


def nesting(study: Study) -> dict[str, list[str]]:
    """Name -> flags: the same categories under different superclasses."""
    labels = study.dataset.categories
    features = _features(study.network("seqpar", [], 0), study.dataset)
    alike = functools.partial(hierarchy.from_similarity, labels, features=features)
    makers = {
        "similar, 2 levels": functools.partial(alike, levels=2),
        "dissimilar, 2 levels": functools.partial(
            hierarchy.from_dissimilarity, labels, features=features, levels=2
        ),
        "random, 2 levels": functools.partial(hierarchy.random_hierarchy, labels, levels=2, seed=0),
        "WordNet, 2 levels": functools.partial(hierarchy.from_wordnet, labels, levels=2),
        "similar, 3 levels": functools.partial(alike, levels=3),
        "similar, 4 levels": functools.partial(alike, levels=4),
    }
    cases = {"seqpar": [], "one branch": ["--network=one_branch"]}
    for name, make in makers.items():
        path = study.folder / f"{name.replace(', ', '_').replace(' ', '_')}.json"
        try:
            hierarchy.to_file(make(), path)
        except ValueError as error:  # too few categories, or none that WordNet knows
            print(f"Without {name!r}: {error}")
        else:
            cases[name] = [f"--hierarchy={path}"]
    return cases


STUDIES: dict[str, Callable[[Study], dict[str, list[str]]]] = {
    "baselines": baselines,
    "training": training,
    "nesting": nesting,
}


def _features(network: keras.Model, dataset: data.Dataset) -> np.ndarray:
    """Mean trunk features of the training images of each category, `(categories, channels)`."""
    trunk, split = find_parts(network).trunk, dataset.train
    total = np.zeros((len(dataset.categories), trunk.output.shape[-1]))
    for start in range(0, len(split), 64):
        rows = np.arange(start, min(len(split), start + 64))
        found = keras.ops.convert_to_numpy(trunk.predict_on_batch(split.read(rows)))
        np.add.at(total, split.labels[rows], found.mean((1, 2)))
    return total / np.bincount(split.labels)[:, None]


def accuracies(network: keras.Model, study: Study) -> dict[str, float]:
    """Top-1 of a network on validation images.

    Returns:
        `all`: of all categories, where the network has them. For each subset it has: `NAME`,
        the categories outside it left out, as a cutout does.
    """
    known = find_parts(network, allow_plain=True).hierarchy.categories
    images = data.only(study.dataset, known).validation
    logits = evaluate.run(network, images, 64)
    found = {}
    if set(known) == set(study.dataset.categories):
        found["all"] = float(np.mean(logits.argmax(-1) == images.labels))
    for name, labels in study.subsets.items():
        if set(labels) <= set(known):
            columns = np.array([known.index(label) for label in labels])
            rows = np.isin(images.labels, columns)
            said = columns[logits[rows][:, columns].argmax(-1)]
            found[name] = float(np.mean(said == images.labels[rows]))
    return found


def run(study: Study, cases: Mapping[str, Sequence[str]]) -> tuple[dict, dict[str, keras.Model]]:
    """Trains and measures all cases, seed after seed; prints the table after each seed.

    Returns:
        Case -> accuracies over the seeds and costs; case -> its network of seed 0.
    """
    results, first = {}, {}
    for seed in range(study.seeds):
        for case, flags in cases.items():
            network = study.network(case, flags, seed)
            if seed == 0:
                first[case] = network
                results[case] = {"top1": {}, "cost": costs(network, study)}
            for name, value in accuracies(network, study).items():
                results[case]["top1"].setdefault(name, []).append(value)
        print(f"\n{seed + 1} of {study.seeds} seeds\n\n{table(results, study.subsets)}", flush=True)
    return results, first


def costs(network: keras.Model, study: Study) -> dict[str, dict[str, int]]:
    """Parameters and MACs of a network (`all`) and, where it can be cut, of its cutouts."""
    parts = find_parts(network, allow_plain=True)
    networks = {"all": network}
    if parts.branches:
        networks |= {name: sp.cutout(network, labels) for name, labels in study.subsets.items()}
    counted = {name: sp.cost(one) for name, one in networks.items()}
    return {name: {"params": c.params, "macs": c.macs} for name, c in counted.items()}


def spread(values: Sequence[float]) -> str:
    """Mean in percent, and the standard deviation over the seeds in brackets."""
    text = f"{100 * np.mean(values):.2f}"
    return text + (f" ({100 * np.std(values, ddof=1):.2f})" if len(values) > 1 else "")


def table(results: Mapping, subsets: Mapping) -> str:
    """All cases side by side, in Markdown."""
    titles = ["network", "top-1, all", *(f"top-1, {name}" for name in subsets)]
    titles += ["parameters", "MMACs", "cutout's parameters", "cutout's MMACs"]
    lines = [titles, ["---"] * len(titles)]
    for case, result in results.items():
        cells = [case] + [
            spread(result["top1"][name]) if name in result["top1"] else "-"
            for name in ("all", *subsets)
        ]
        whole = result["cost"]["all"]
        cut = [result["cost"][name] for name in subsets if name in result["cost"]]
        cells += [f"{whole['params']:,}", f"{whole['macs'] / 1e6:.1f}"]
        cells += [_mean(cut, "params", 1, ",.0f"), _mean(cut, "macs", 1e6, ".1f")]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(costs: Sequence[Mapping], what: str, unit: float, form: str) -> str:
    return format(np.mean([c[what] for c in costs]) / unit, form) if costs else "-"


def measure_int8(study: Study, networks: Mapping[str, keras.Model]) -> dict[str, dict]:
    """Converts the networks of the baselines and their cutouts to int8 and measures the files.

    Returns:
        Name -> bytes, milliseconds (median on 1 thread, the files in turn) and top-1 on the
        validation images of the file's own categories.
    """
    from keras_seqpar import mobile

    wanted = dict(networks)
    for name, labels in study.subsets.items():
        wanted[_CUTOUT + name] = sp.cutout(networks["seqpar"], labels)
    results, runners = {}, {}
    for name, network in wanted.items():
        known = find_parts(network, allow_plain=True).hierarchy.categories
        own = data.only(study.dataset, known)
        rows = np.random.default_rng(0).permutation(len(own.train))[:300]
        made = mobile.convert(
            network,
            study.folder / f"{name.replace(' ', '_')}.tflite",
            quantization="int8",
            calibration=own.train.read(rows),
            input_dtype="uint8",
        )
        runner = runners[name] = mobile.Runner(made.path)
        said = runner(own.validation.read(range(len(own.validation)))).argmax(-1)
        results[name] = {
            "bytes": Path(made.path).stat().st_size,
            "top1": float(np.mean(said == own.validation.labels)),
        }
    turns = [[np.median(one.latency(20, 3)) for one in runners.values()] for _ in range(ROUNDS)]
    for name, latency in zip(runners, np.median(turns, axis=0), strict=True):
        results[name]["milliseconds"] = float(latency)
    return results


def int8_table(int8: Mapping[str, Mapping], results: Mapping) -> str:
    """The files side by side, each against the three networks of the paper's table 2."""

    def against(name: str, other: str) -> str:
        if other == name or other not in int8:
            return "-"
        parts = [(costs_of(name)[key] / costs_of(other)[key] - 1) for key in ("params", "macs")] + [
            int8[name][key] / int8[other][key] - 1 for key in ("bytes", "milliseconds")
        ]
        return " / ".join(f"{100 * part:+.1f}" for part in parts)

    def costs_of(name: str) -> Mapping:
        if name.startswith(_CUTOUT):
            return results["seqpar"]["cost"][name.removeprefix(_CUTOUT)]
        return results[name]["cost"]["all"]

    titles = ["int8 file", "top-1", "kB", "ms"]
    titles += [f"against {other} (parameters / MACs / bytes / ms, %)" for other in _BASES]
    lines = [titles, ["---"] * len(titles)]
    for name, found in int8.items():
        own = f"plain on {name.removeprefix(_CUTOUT)}" if name.startswith(_CUTOUT) else name
        cells = [name, f"{100 * found['top1']:.2f}", f"{found['bytes'] / 1e3:,.0f}"]
        cells += [f"{found['milliseconds']:.2f}"]
        cells += [against(name, other) for other in (*_BASES[:-1], own)]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_CUTOUT = "cutout of "
_BASES = ("seqpar", "plain on all", "plain on the same subset")


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    argv, shared = (
        (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    )
    try:
        chosen, _ = make_options().parse(argv)
        if chosen.study not in STUDIES:
            raise ValueError(f"Unknown study {chosen.study!r}. Valid: {', '.join(STUDIES)}.")
        flags, _ = train.read_flags(shared)
        folder = Path(chosen.output)
        folder.mkdir(parents=True, exist_ok=True)
        flags.crop_scale = 1  # images for measuring: stored as large as the network takes them
        dataset = train.load_data(flags)
        labels = dataset.categories
        half = len(labels) // 2
        subsets = {"first half": labels[:half], "second half": labels[half:]}
        if chosen.subset:
            data.only(dataset, chosen.subset)  # known labels only
            subsets = {"subset": tuple(chosen.subset)}
        study = Study(shared, folder, chosen.seeds, dataset, subsets)
        results, networks = run(study, STUDIES[chosen.study](study))
        if chosen.study == "baselines" and chosen.int8:
            int8 = measure_int8(study, networks)
            print(f"\n{int8_table(int8, results)}")
            results["int8"] = int8
        run_folder.write_json(folder / f"{chosen.study}.json", results)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
