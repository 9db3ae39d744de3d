"""Damaged files of every kind that the package reads: a clear error or a valid result.

A clear error is a ValueError or OSError that names the file. Everything else is a fault: another
exception, a message without the file's name, a crash, more than 2 GB or 10 s.
"""

import pathlib
import random
import tempfile
from collections.abc import Callable

from tests.drill.processes import run_cases

CASES = 10_000
# Opens a damaged file; what it returns is a valid result.
Open = Callable[[], object]


def run(share: float, seed: int) -> dict[str, int]:
    """Makes a share of the cases; prints the faults.

    Returns:
        How many cases there were, and how many ended in a clear error, a valid result, or a fault.
    """
    kinds = [name for name, weight in KINDS.items() for _ in range(weight[1])]
    counts = {"cases": 0, "clear errors": 0, "valid results": 0, "faults": 0}
    with tempfile.TemporaryDirectory() as name:

        def attempt(case: int) -> tuple[str, str]:
            draw = random.Random(f"{seed} {case}")
            kind = kinds[case % len(kinds)]
            path, opened = KINDS[kind][0](draw, pathlib.Path(name))
            try:
                opened()
            except (ValueError, OSError) as error:
                if path.name in str(error):
                    return "clear errors", str(error)
                return "faults", f"{kind}: the message does not name {path.name}: {error}"
            except Exception as error:
                error.args = (f"{kind}: {error}",)
                raise
            return "valid results", ""

        for case, outcome, text in run_cases(max(1, round(CASES * share)), attempt):
            counts["cases"] += 1
            counts[outcome] += 1
            if outcome == "faults":
                print(f"  seed {seed}, case {case}, {kinds[case % len(kinds)]}: {text}")
    return counts


def mutate(draw: random.Random, content: bytes) -> bytes:
    """Damages a file: flipped bits, other bytes, a part that is missing, doubled or added."""
    content = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 30))):
        size = len(content)
        at = draw.randrange(size + 1)
        match draw.randrange(8):
            case 0 | 1 if size:
                content[at % size] ^= 1 << draw.randrange(8)
            case 2 if size:
                content[at % size] = draw.randrange(256)
            case 3:
                content[at : at + 4] = draw.choice(_NUMBERS)
            case 4:
                del content[at:]
            case 5:
                del content[at : at + draw.randrange(1, 64)]
            case 6:
                content[at:at] = draw.randbytes(draw.randrange(1, 64))
            case _:
                content[at:at] = content[at : at + draw.randrange(1, 2000)]
    return bytes(content)


_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\xc0\x7f")


def _hierarchy(draw: random.Random, folder: pathlib.Path) -> tuple[pathlib.Path, Open]:
    from keras_seqpar.hierarchy.files import from_file

    ending = draw.choice(("json", "yaml"))
    text = draw.choice(_HIERARCHIES[ending])
    path = folder / f"tree.{ending}"
    path.write_bytes(mutate(draw, text.encode()))
    return path, lambda: from_file(path)


_HIERARCHIES = {
    "json": [
        '["cat", "dog", "car"]',
        '{"pets": ["cat", "dog"], "car": null}',
        '{"tree": [{"id": "a", "label": "A", "children": [{"id": "b", "label": "B"},'
        ' {"id": "c", "label": "C"}]}], "categories": ["c", "b"]}',
        "[" * 3000 + "]" * 3000,
        '{"a":' * 3000 + "null" + "}" * 3000,
    ],
    "yaml": [
        "- cat\n- dog\n",
        "pets:\n  - cat\n  - dog\ncar: null\n",
        "pets: {small: [cat, dog], large: [horse]}\ncar:\n",
        "a: &x [b]\nc: *x\n",
        "[" * 3000,
    ],
}

# Kind -> what makes and opens a damaged file, and how many of each round of cases are of it.
KINDS: dict[str, tuple[Callable[[random.Random, pathlib.Path], tuple[pathlib.Path, Open]], int]] = {
    "hierarchies": (_hierarchy, 1),
}
