"""Reads labels: from a label file beside a model, or from the one inside it."""

import re
from pathlib import Path

from keras_seqpar.utils.names import MOST_CHARACTERS, same_form

LABELS_SUFFIX = ".labels.txt"
MOST_BYTES = 16 * 2**20  # of a label file
MOST_LABELS = 1_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # Unicode's categories Cc, Zl, Zp
_MARKS = {  # byte order marks; UTF-32's begins with UTF-16's
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def find_labels(
    path: Path, outputs: int, inside: tuple[str, ...] | None, only_inside: bool = False
) -> tuple[str, ...] | None:
    """The labels of a model: those inside it, or else those of the label file beside it.

    Args:
        path: the .tflite file.
        outputs: how many scores it gives.
        inside: the labels inside it, or `None`.
        only_inside: do not read the label file.

    Returns:
        One label per score, or `None` if there are none.

    Raises:
        OSError: the label file cannot be read.
        ValueError: the label file is no list of labels, there are more or fewer labels than
            outputs, or it disagrees with the labels inside the model. The message names the file.
    """
    if inside is not None:
        _check_count(inside, outputs, f"the metadata of {path.name}", path)
    beside = path.with_name(path.stem + LABELS_SUFFIX)
    if only_inside or not beside.is_file():
        return inside
    if beside.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(beside)!r} has more than {MOST_BYTES:,} bytes: no list of labels.")
    labels = read_labels(beside.read_bytes(), str(beside))
    _check_count(labels, outputs, str(beside), path)
    if inside is None or labels == inside:
        return labels
    first = next(i for i in range(outputs) if labels[i] != inside[i])
    raise ValueError(
        f"{str(beside)!r} disagrees with the labels inside {path.name}: line {first + 1} is "
        f"{labels[first]!r}, and inside it is {inside[first]!r}. Those inside belong to the model: "
        "delete the label file. To change labels, convert again with labels=[...]."
    )


def read_labels(content: bytes, where: str) -> tuple[str, ...]:
    r"""Reads a label file: one label per line, in the order of the scores.

    Lines may end in LF, CR LF or CR. Spaces around labels, a byte order mark and blank lines at
    the end are left out. The text is UTF-8, or UTF-16 or UTF-32 with a byte order mark. A label
    may be repeated, as in some lists of ImageNet's labels.

    Args:
        content: of the file.
        where: what messages call the file.

    Returns:
        The labels, in Unicode NFC.

    Raises:
        ValueError: it is not in such an encoding, has no labels, a blank line between labels, a
            control character, or more or longer lines than a list of labels. The message names
            the file.

    Example:

    >>> read_labels(b"cat\r\ndog\r\n\r\n", "pets.labels.txt")
    ('cat', 'dog')
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"{where!r} has more than {MOST_BYTES:,} bytes: no list of labels.")
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{where!r} is not in {encoding.upper()} (line {line}): it cannot be told which "
            "letters are meant. Save it in UTF-8, in an editor or with iconv -f LATIN1 -t UTF-8."
        ) from None
    rows = text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(rows) > MOST_LABELS:
        raise ValueError(f"{where!r} has more than {MOST_LABELS:,} lines: no list of labels.")
    if (longest := max(map(len, rows))) > MOST_CHARACTERS:
        raise ValueError(f"{where!r} has a line of {longest:,} characters: no list of labels.")
    labels = [same_form(row.replace("\t", " ")) for row in rows]
    while labels and not labels[-1]:
        labels.pop()
    if not labels:
        raise ValueError(f"{where!r} has no labels. One line per score is needed.")
    for number, label in enumerate(labels, 1):
        if not label:
            raise ValueError(f"{where!r} has no label in line {number}. Write one, or remove it.")
        if odd := _CONTROL.search(label):
            raise ValueError(
                f"{where!r} has the control character {odd[0]!r} in line {number}, so it is no "
                "text, or UTF-16 without a byte order mark. Save it in UTF-8."
            )
    return tuple(labels)


def _check_count(labels: tuple[str, ...], outputs: int, where: str, path: Path) -> None:
    if len(labels) != outputs:
        raise ValueError(
            f"{where!r} has {len(labels)} labels, but {path.name} has {outputs} outputs. "
            "The two belong to different conversions: convert again."
        )
