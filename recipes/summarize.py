"""Writes summary.html into the folders of runs: one page per run, in one file.

    python recipes/summarize.py runs/digits
    python recipes/summarize.py runs/*

The page has the learning curves, the confusion matrix, precision and recall per category, the
expected calibration error, the most confident mistakes as images, and all flags. The best network
is measured again on the validation images, which are found as with --resume of recipes/train.py.
recipes/train.py writes the same page at its end. Needs the extras `train` and `plots`.
"""

from keras_seqpar.utils.commands import run

from keras_seqpar.plots.summaries import write_summary


def main(argv: list[str]) -> None:
    """Writes the pages, and prints where they are."""
    for folder in argv[1:]:
        print(f"Summary: {write_summary(folder)}")


if __name__ == "__main__":
    run(main, positional=["RUN", "RUN..."])
