"""Studies: several networks trained under the same budget, measured and compared."""

import dataclasses
import functools
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags

from keras_seqpar import hierarchy
from keras_seqpar.costs.counting import cost
from keras_seqpar.data.datasets import Dataset, only
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.plans import get_family, get_plan
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.training import evaluation
from keras_seqpar.training.class_means import class_means
from keras_seqpar.training.config import ONE_BRANCH, PLAIN, to_values
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.runs.flags import CALL_FLAGS, read_flags

NESTED = "nested"
OWN_FLAGS = ("network", "hierarchy", "seed", "output", "resume", "overwrite")
_UNUSED = {PLAIN: ("plan", "fused"), ONE_BRANCH: ("fused",)}  # flags of branches


@dataclasses.dataclass(frozen=True)
class Study:
    """What all cases of a study share.

    Args:
        command: the start of the command line: Python and recipes/train.py.
        shared: flags of train.py for all networks: name -> argument, as `--width=0.5`. Those of
            branches are left out where there are none.
        folder: where the networks are.
        seeds: number of networks per case; their seeds are 0, 1, ...
        dataset: the data, both splits.
        subsets: name -> labels of a cutout.
        nested: whether the baselines have a nested network.
    """

    command: Sequence[str]
    shared: Mapping[str, str]
    folder: Path
    seeds: int
    dataset: Dataset
    subsets: Mapping[str, tuple[str, ...]]
    nested: bool = False

    def network(self, case: str, given: Sequence[str], seed: int) -> keras.Model:
        """Trains a network, or resumes its training, or loads the finished network.

        Args:
            case: name of the case.
            given: flags of train.py for this case.
            seed: the seed.

        Raises:
            ValueError: the training failed, or the finished network had other flags.
        """
        folder = self.folder / f"{case.replace(' ', '_')}-{seed}"
        last = folder / "last.keras"
        kind = next((kind for kind in _UNUSED if f"--network={kind}" in given), None)
        unused = _UNUSED[kind] if kind else ()
        shared = [text for name, text in self.shared.items() if name not in unused]
        arguments = [*shared, *given, f"--seed={seed}", f"--output={folder}"]
        begun = (folder / "flags.json").exists()
        if last.exists():
            if begun:
                self._check(folder, arguments)
        else:
            print(f"== {case}, seed {seed}", flush=True)
            started = time.perf_counter()
            done = subprocess.run([*self.command, *arguments, *["--resume"] * begun])
            if done.returncode:
                raise ValueError(f"The training of {case!r} failed: see above.")
            print(f"== {time.perf_counter() - started:.0f} s", flush=True)
        return load_network(last)

    def _check(self, folder: Path, arguments: Sequence[str]) -> None:
        """Refuses a finished network that was trained with other flags."""
        config, _ = parse_train_flags(arguments)
        before = read_flags(folder)["flags"]
        differing = [
            f"--{name} {before[name]} then, {value} now"
            for name, value in to_values(config).items()
            if name not in CALL_FLAGS and name in before and before[name] != value
        ]
        if differing:
            raise ValueError(
                f"The network in {folder} was trained with other flags: {'; '.join(differing)}. "
                "Give the study those flags, or another --output."
            )


def baselines(study: Study) -> dict[str, list[str]]:
    """Name -> flags: the networks of table 2 of arXiv 2308.05128."""
    plain = [f"--network={PLAIN}"]
    cases: dict[str, list[str]] = {"seqpar": [], "plain on all": plain}
    if study.nested:
        cases |= _with_hierarchies(study, {NESTED: lambda: _similar(study, plain)})
    for name, labels in study.subsets.items():
        listed = flags.CsvListSerializer(",").serialize(list(labels))
        cases[f"plain on {name}"] = [*plain, f"--categories={listed}"]
    return cases


def _similar(study: Study, plain: Sequence[str]) -> hierarchy.Hierarchy:
    """Superclasses of categories that are similar to the plain network of seed 0.

    Raises:
        ValueError: there are too few categories.
    """
    trained = study.network("plain on all", plain, 0)
    features, _ = class_means(trained, study.dataset, "features", split="train")
    return hierarchy.from_similarity(study.dataset.categories, features=features, levels=2)


def training(study: Study) -> dict[str, list[str]]:
    """Name -> flags: without and with a teacher."""
    plain = [f"--network={PLAIN}"]
    study.network("plain on all", plain, 0)
    teacher = [f"--teacher={study.folder / 'plain_on_all-0' / 'last.keras'}"]
    return {"seqpar": [], "teacher": teacher}


def nesting(study: Study) -> dict[str, list[str]]:
    """Name -> flags: the same categories under different superclasses."""
    labels = study.dataset.categories
    network = study.network("seqpar", [], 0)
    features, _ = class_means(network, study.dataset, "features", split="train")
    similar = functools.partial(hierarchy.from_similarity, labels, features=features)
    makers = {
        "similar, 2 levels": functools.partial(similar, levels=2),
        "dissimilar, 2 levels": functools.partial(
            hierarchy.from_dissimilarity, labels, features=features, levels=2
        ),
        "random, 2 levels": functools.partial(hierarchy.random_hierarchy, labels, levels=2, seed=0),
        "WordNet, 2 levels": functools.partial(hierarchy.from_wordnet, labels, levels=2),
        "similar, 3 levels": functools.partial(similar, levels=3),
        "similar, 4 levels": functools.partial(similar, levels=4),
    }
    return {
        "seqpar": [],
        "one branch": ["--network=one_branch"],
        **_with_hierarchies(study, makers),
    }


def _with_hierarchies(
    study: Study, makers: Mapping[str, Callable[[], hierarchy.Hierarchy]]
) -> dict[str, list[str]]:
    """Name -> flags, with the hierarchies in files; those that cannot be made are left out."""
    network = parse_train_flags(list(study.shared.values()))[0].network
    cases = {}
    for name, make in makers.items():
        path = study.folder / f"{name.replace(', ', '_').replace(' ', '_')}.json"
        try:
            tree = make()
            get_plan(network.plan, get_family(network.family), split_points=tree.depth)
            hierarchy.to_file(tree, path)
        except ValueError as error:  # too few categories or levels, or none that WordNet knows
            print(f"Left out {name!r}: {error}")
        else:
            cases[name] = [f"--hierarchy={path}"]
    return cases


STUDIES: dict[str, Callable[[Study], dict[str, list[str]]]] = {
    "baselines": baselines,
    "training": training,
    "nesting": nesting,
}


def accuracies(network: keras.Model, study: Study) -> dict[str, float]:
    """Top-1 of a network on validation images.

    Returns:
        `all`: over the images of all categories, if the network has them all. The name of each
        subset that the network has: over the images of the subset, comparing the subset's logits
        only, as a cutout does.
    """
    known = find_parts(network, allow_plain=True).hierarchy.categories
    images = only(study.dataset, known).validation
    logits = evaluation.logits_of(network, images)
    found = {}
    if len(known) == len(study.dataset.categories):
        found["all"] = float(np.mean(logits.argmax(-1) == images.labels))
    for name, labels in study.subsets.items():
        if set(labels) <= set(known):
            columns = np.array([known.index(label) for label in labels])
            rows = np.isin(images.labels, columns)
            predicted = columns[logits[rows][:, columns].argmax(-1)]
            found[name] = float(np.mean(predicted == images.labels[rows]))
    return found


def run_cases(
    study: Study, cases: Mapping[str, Sequence[str]]
) -> tuple[dict, dict[str, keras.Model]]:
    """Trains and measures all cases, seed after seed; prints the table after each seed.

    Returns:
        Case -> accuracies over the seeds and costs; case -> its network of seed 0.
    """
    results: dict[str, dict[str, Any]] = {}
    first: dict[str, keras.Model] = {}
    for seed in range(study.seeds):
        for case, given in cases.items():
            network = study.network(case, given, seed)
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
    if parts.branches or parts.banks:
        networks |= {name: cutout(network, labels) for name, labels in study.subsets.items()}
    counted = {name: cost(one) for name, one in networks.items()}
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
        full = result["cost"]["all"]
        cut = [result["cost"][name] for name in subsets if name in result["cost"]]
        cells += [f"{full['params']:,}", f"{full['macs'] / 1e6:.1f}"]
        cells += [_mean(cut, "params", 1, ",.0f"), _mean(cut, "macs", 1e6, ".1f")]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(costs: Sequence[Mapping], what: str, unit: float, form: str) -> str:
    return format(np.mean([c[what] for c in costs]) / unit, form) if costs else "-"
