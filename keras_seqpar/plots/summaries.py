"""A page on one run: curves, confusion, precision and recall, calibration, worst mistakes."""

import base64
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.costs.counting import short_number
from keras_seqpar.data import MEMORY_LIMIT
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.plots.accuracy import confusion
from keras_seqpar.plots.learning import learning_curves
from keras_seqpar.training import evaluation
from keras_seqpar.training.runs.comparing import read_run
from keras_seqpar.training.runs.flags import located_flags, read_flags
from keras_seqpar.training.runs.history import duration
from keras_seqpar.utils.files import write_file

BINS = 15  # of confidence, as in arXiv 1706.04599
MISTAKES = 24  # images on a page

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.15rem .7rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#8881}
img{max-width:100%}figure{display:inline-block;margin:.4rem;width:9rem;vertical-align:top}
figure img{width:9rem}figcaption{font-size:13px}"""


def calibration_error(confidence, right, bins: int = BINS) -> float:
    """The expected calibration error: how far confidence is from accuracy, on average.

    Images are put into bins of equal width by their confidence; in each, the mean confidence is
    compared with the share of right images (Guo et al., arXiv 1706.04599, section 2).

    Args:
        confidence: `(images,)` highest score of each image, 0 to 1.
        right: `(images,)` whether it is classified right.
        bins: number of bins.

    Returns:
        The mean of the differences, weighted by the images of the bins: 0 to 1.

    Example:

    >>> calibration_error([0.9, 0.9, 0.6, 0.6], [True, True, True, False])
    0.1
    """
    confidence, right = np.asarray(confidence, "float64"), np.asarray(right, "float64")
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(places, confidence - right, minlength=bins)
    return float(round(np.abs(gaps).sum() / len(confidence), 6))


def write_summary(folder: str | os.PathLike) -> Path:
    """Writes `summary.html`, one file without links to others, into the folder of a run.

    The best network of the run is measured on its validation images again.

    Args:
        folder: of a training of classification, with one whole epoch at least.

    Returns:
        The path of the page.

    Raises:
        ValueError: there is no such run, or its images are not where they were.
        ImportError: matplotlib or scikit-learn is not installed.
        OSError: the page could not be written.
    """
    from PIL import Image
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    folder = Path(folder)
    run = read_run(folder)
    flags = located_flags(read_flags(folder), folder)
    network = load_network(folder / "best.keras")
    dataset = evaluation.load_split(
        network,
        flags["dataset"],
        data_dir=flags.get("data_dir"),
        skip_unreadable=flags.get("skip_unreadable", False),
        categories=flags.get("categories"),
        memory_limit=round(flags.get("data_memory", MEMORY_LIMIT / 2**30) * 2**30),
    )
    parts, split = find_parts(network, allow_plain=True), dataset.validation
    labels = parts.hierarchy.categories
    logits = evaluation.logits_of(network, split)
    scores = keras.activations.get(parts.classifier_activation)(logits)
    scores = keras.ops.convert_to_numpy(scores)
    truth = evaluation.match(network, dataset)[split.labels]
    rows = np.flatnonzero(truth >= 0)
    truth, scores = truth[rows], scores[rows]
    predicted, confidence = scores.argmax(-1), scores.max(-1)
    right = predicted == truth
    numbers = range(len(labels))
    matrix = confusion_matrix(truth, predicted, labels=numbers)
    measures = precision_recall_fscore_support(
        truth, predicted, labels=numbers, zero_division=np.nan
    )

    facts = {
        "top-1": f"{right.mean():.2%}",
        "images to validate on": f"{len(rows):,}",
        "expected calibration error": f"{calibration_error(confidence, right):.4f}",
        "mean confidence": f"{confidence.mean():.2%}",
        "best epoch": f"{run.best['epoch']:.0f} of {len(run.history)}",
        "parameters": f"{run.parameters:,}",
        "MACs per image": short_number(run.macs),
        "time of all epochs": duration(run.seconds),
    }
    per_category = [
        [label, f"{count}", *("-" if np.isnan(x) else f"{x:.2%}" for x in (p, r, f))]
        for label, p, r, f, count in zip(labels, *measures, strict=True)
    ]
    wrong = np.flatnonzero(~right)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    mistakes = []
    for i, pixels in zip(worst, split.read(rows[worst]), strict=True):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=85)
        told = f"{labels[predicted[i]]} ({confidence[i]:.0%}) instead of {labels[truth[i]]}"
        image = _embedded(content.getvalue(), "jpeg", split.names[rows[i]])
        mistakes.append(f"<figure>{image}<figcaption>{html.escape(told)}</figcaption></figure>")
    given = [[f"--{name}", str(value)] for name, value in sorted(run.flags.items())]
    page = "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><meta charset="utf-8"><title>{html.escape(folder.name)}</title>',
            f"<style>{_STYLE}</style><h1>{html.escape(folder.name)}</h1>",
            _table([], [[*pair] for pair in facts.items()]),
            f"<h2>Curves</h2>{_figure(learning_curves(run.history), 'loss and accuracy')}",
            f"<h2>Confusion</h2>{_figure(confusion(matrix, labels), 'confusion matrix')}",
            "<h2>Categories</h2>",
            _table(["category", "images", "precision", "recall", "F1"], per_category),
            "<h2>The most confident mistakes</h2>",
            *(mistakes or ["<p>There are none.</p>"]),
            f"<h2>Flags</h2>{_table([], given)}</html>\n",
        ]
    )
    write_file(folder / "summary.html", page)
    return folder / "summary.html"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(x)}</{tag}>" for x in cells) + "</tr>"

    lines = [line(head, "th")] * bool(head) + [line(row, "td") for row in rows]
    return "<table>" + "".join(lines) + "</table>"


def _figure(figure, text: str) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return _embedded(content.getvalue(), "png", text)


def _embedded(content: bytes, kind: str, text: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{data}">'
