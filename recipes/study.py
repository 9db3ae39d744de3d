"""Trains several networks under the same budget and compares them: one command per study.

    python recipes/study.py baselines -- --setting two_cores --data_dir DIR
    python recipes/study.py baselines --seeds 3 -- --dataset folder:PATH --epochs 40
    python recipes/study.py baselines --seeds 3 -- --setting mobile --data_dir DIR \\
        --features_dir FEATURES
    python recipes/study.py nesting -- --dataset folder:PATH --epochs 20

What follows `--` are flags of recipes/train.py, the same for every network; the study itself sets
--network, --hierarchy, --seed and --output. The studies:

    baselines   a SeqPar network with one split-point, a nested one with two, and their cutouts; the
                plain network trained on all categories; the plain network trained on each subset
                alone (arXiv 2308.05128, table 2)
    training    the SeqPar network trained alone, and with the plain one as its teacher
    nesting     one level and one branch; superclasses of similar, dissimilar, random and
                WordNet's categories; 2, 3 and 4 split-points (table 4)

The networks are in --output: given the same command again, those that are finished are not trained
again, and one that was interrupted is resumed. The network of the last epoch is measured, so that
no epoch is selected by the images that it is measured on. Tables are in Markdown, with means over
the seeds and, in brackets, standard deviations. Files are made of the networks of seed 0; of them,
the baselines have size, top-1, and milliseconds on 1 and 2 threads.
"""

from keras_seqpar.utils.commands import flag_group, run

import sys
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.training import studies
from keras_seqpar.training.flags import given_flags, parse_train_flags
from keras_seqpar.training.tasks import classification
from keras_seqpar.utils.files import write_json
from keras_seqpar.utils.names import unknown_name

TRAIN = Path(__file__).with_name("train.py")
# Network -> how the names of its cutouts begin; threads -> key of the results.
_CUT = {"seqpar": "cutout of ", studies.NESTED: f"{studies.NESTED}, cutout of "}
_MS = {1: "milliseconds", 2: "milliseconds_2_threads"}
_BASES = ("seqpar", "plain on all", "plain on the same subset")

with flag_group("Study"):
    flags.DEFINE_integer("seeds", 1, "Networks per case; their seeds are 0, 1, ...", lower_bound=1)
    flags.DEFINE_list(
        "subset", None, "Labels of the cutout; default: both halves of the categories."
    )
    flags.DEFINE_string("output", "runs/studies", "Folder for the networks and the results.")
    flags.DEFINE_boolean("int8", True, "baselines: also convert to int8 and measure (TensorFlow).")
    text = "baselines: also train a network with two split-points, over similar categories."
    flags.DEFINE_boolean("nested", True, text)
    text = "Rounds of the latency: 20 runs per file and number of threads; the result is the "
    text += "median of the rounds' medians."
    flags.DEFINE_integer("rounds", 10, text, lower_bound=1)


def measure_int8(
    study: studies.Study, networks: Mapping[str, keras.Model], rounds: int
) -> dict[str, dict]:
    """Converts the networks of the baselines and their cutouts to int8 and measures the files.

    Returns:
        Name -> bytes; milliseconds on 1 and on 2 threads (medians; the files take turns); and top-1
        on the validation images of the file's own categories.
    """
    converted = dict(networks)
    for case, start in _CUT.items():
        for name, labels in study.subsets.items() if case in networks else ():
            converted[start + name] = sp.cutout(networks[case], labels)
    results: dict[str, dict[str, float]] = {}
    runners = {}
    for name, network in converted.items():
        known = find_parts(network, allow_plain=True).hierarchy.categories
        kept = data.only(study.dataset, known)
        rows = np.random.default_rng(0).permutation(len(kept.train))[:300]
        made = mobile.convert(
            network,
            study.folder / f"{name.replace(', ', '_').replace(' ', '_')}.tflite",
            quantization="int8",
            calibration=kept.train.read(rows),
            input_dtype="uint8",
        )
        for threads in _MS:
            runners[name, threads] = mobile.Runner(made.path, threads=threads)
        scores = runners[name, 1](kept.validation.read(range(len(kept.validation))))
        results[name] = {
            "bytes": Path(made.path).stat().st_size,
            "top1": float(np.mean(scores.argmax(-1) == kept.validation.labels)),
        }
    turns = [[np.median(one.latency(20, 3)) for one in runners.values()] for _ in range(rounds)]
    for (name, threads), latency in zip(runners, np.median(turns, axis=0), strict=True):
        results[name][_MS[threads]] = float(latency)
    return results


def int8_table(int8: Mapping[str, Mapping], results: Mapping) -> str:
    """The files side by side, each against the three networks of the paper's table 2."""
    compared = "bytes", *_MS.values()

    def against(name: str, other: str) -> str:
        if other == name or other not in int8:
            return "-"
        parts = [costs_of(name)[key] / costs_of(other)[key] - 1 for key in ("params", "macs")]
        parts += [int8[name][key] / int8[other][key] - 1 for key in compared]
        return " / ".join(f"{100 * part:+.1f}" for part in parts)

    def cut_of(name: str) -> tuple[str, str]:
        """Of a cutout, the network that it is cut from and its subset."""
        return next(
            ((case, name.removeprefix(x)) for case, x in _CUT.items() if name.startswith(x)),
            (name, "all"),
        )

    def costs_of(name: str) -> Mapping:
        case, subset = cut_of(name)
        return results[case]["cost"][subset]

    titles = ["int8 file", "top-1", "kB", *(f"ms, {n} thread{'s' * (n > 1)}" for n in _MS)]
    titles += [f"against {other} (parameters / MACs / bytes / ms, %)" for other in _BASES]
    lines = [titles, ["---"] * len(titles)]
    for name, found in int8.items():
        _, subset = cut_of(name)
        alone = name if subset == "all" else f"plain on {subset}"
        cells = [name, f"{100 * found['top1']:.2f}", f"{found['bytes'] / 1e3:,.0f}"]
        cells += [f"{found[key]:.2f}" for key in _MS.values()]
        cells += [against(name, other) for other in (*_BASES[:-1], alone)]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: list[str]) -> None:
    """Trains and measures what the study compares."""
    args = flags.FLAGS
    name, shared = argv[1], argv[2:]
    if name not in studies.STUDIES:
        raise ValueError(unknown_name("study", name, studies.STUDIES))
    given = given_flags(shared)
    if own := sorted(set(given) & set(studies.OWN_FLAGS)):
        raise ValueError(
            f"The study sets --{own[0]} itself: leave it out behind `--`. Before it, --seeds says "
            "how many networks, and --output where they are."
        )
    makes_files = name == "baselines" and args.int8
    if makes_files and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"--int8 needs KERAS_BACKEND=tensorflow, it is {keras.backend.backend()}. Set it, or "
            "give --noint8."
        )
    config, _ = parse_train_flags(shared)
    dataset = classification.load_data(
        config.data, batch_size=config.step.batch_size, cropped=False
    )
    half = len(dataset.categories) // 2
    subsets = {"first half": dataset.categories[:half], "second half": dataset.categories[half:]}
    if args.subset:
        subsets = {"subset": data.only(dataset, args.subset).categories}
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRAIN)]
    study = studies.Study(command, given, folder, args.seeds, dataset, subsets, args.nested)
    results, networks = studies.run_cases(study, studies.STUDIES[name](study))
    if makes_files:
        results["int8"] = measure_int8(study, networks, args.rounds)
        print(f"\n{int8_table(results['int8'], results)}")
    write_json(folder / f"{name}.json", results)


if __name__ == "__main__":
    run(
        main,
        positional=["STUDY", "FLAGS..."],
        stopped="Stopped. Start the same command again to continue.",
    )
