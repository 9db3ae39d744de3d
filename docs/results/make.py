"""Makes the page of results, and the figures of what was measured, from the JSON files beside it.

    python docs/results/make.py

Every *.json of this folder becomes one table of docs/results.md. docs/contributing.md describes
the form. baselines.json and mobile.json are also drawn: docs/figures/gain.svg, pareto.svg and
pareto_mobile.svg.
"""

import json
import os
import re
import statistics
from pathlib import Path

os.environ["SOURCE_DATE_EPOCH"] = "0"  # the same figure gives the same file

HERE = Path(__file__).resolve().parent
NEEDED = ("title", "date", "command", "hardware", "columns", "rows")
OPTIONAL = ("section", "about", "seeds", "formats", "pivot", "figure", "notes")
SECTIONS = (
    "What networks cost",
    "Accuracy",
    "Cues and unknown images",
    "Files for devices",
    "Streams",
    "Training",
    "Other measurements",
    "Tried and left",
    "Known limits",
)
HEAD = """\
<!-- Made by `python docs/results/make.py` from the files in docs/results/. Edit those. -->
# Results

Every table has the command that measured it, the kind of machine, the seeds and the date, and a \
link to its numbers. "Not recorded" means that nobody wrote it down at the time.

- "2 cores" is a virtual machine with two cores of an x86-64 server processor, without a GPU.
- "Shared" means that other work ran at the same time, so times are upper bounds. "Idle" means \
that nothing else ran.
- 77.85 (0.50) is the mean and the standard deviation over the seeds.
"""


class Written(float):
    """A number that prints as it is written in its file: 0.50 stays 0.50."""

    def __new__(cls, text: str):
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else self.text


def load(path: Path) -> dict:
    """Reads one file.

    Raises:
        ValueError: it does not have the form that docs/contributing.md describes.
    """
    try:
        found = json.loads(path.read_text("utf-8"), parse_float=Written)
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} must be an object with {', '.join(NEEDED)}.")
    missing = [key for key in NEEDED if not found.get(key)]
    unknown = sorted(set(found) - {*NEEDED, *OPTIONAL})
    if missing or unknown:
        raise ValueError(
            f"{path.name} lacks {missing or 'nothing'} and has unknown {unknown or 'nothing'}. "
            f'Needed: {", ".join(NEEDED)} ("not recorded" where nobody knows). '
            f"Optional: {', '.join(OPTIONAL)}."
        )
    for row in found["rows"]:
        if len(row) != len(found["columns"]):
            raise ValueError(f"{path.name} has {len(found['columns'])} columns, got the row {row}.")
    return found


def records(table: dict) -> list[dict]:
    """The rows, each as a mapping from columns."""
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def show(value, spec: str = "") -> str:
    """The text of a cell: a number, a text, one number for each seed, or `None`."""
    if value is None:
        return "-"
    if isinstance(value, list):  # one for each seed
        value = {"mean": statistics.fmean(value), "std": statistics.stdev(value)}
        spec = spec or ".2f"
    if isinstance(value, dict):
        return f"{show(value['mean'], spec)} ({show(value['std'], spec)})"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return format(value, spec or ("," if isinstance(value, int) else ""))
    return str(value).replace("|", "\\|")


def cells(table: dict) -> tuple[list[str], list[list[str]]]:
    """What is shown: columns and rows, with one column per value of the pivot."""
    formats, pivot = table.get("formats", {}), table.get("pivot")
    rows = [{k: show(v, formats.get(k, "")) for k, v in row.items()} for row in records(table)]
    if not pivot:
        return table["columns"], [list(row.values()) for row in rows]
    across = list(dict.fromkeys(row[pivot["across"]] for row in rows))
    lines: dict[tuple, dict] = {}
    for row in rows:
        line = lines.setdefault(tuple(row[name] for name in pivot["down"]), {})
        line[row[pivot["across"]]] = pivot["cell"].format_map(row)
    head = [*pivot["down"], *(f"{pivot['across']} {value}" for value in across)]
    return head, [[*key, *(line.get(x, "-") for x in across)] for key, line in lines.items()]


def section(path: Path, table: dict) -> str:
    """One table with all that belongs to it."""

    def listed(value) -> list[str]:
        return [value] if isinstance(value, str) else list(value)

    head, rows = cells(table)
    facts = [f"Hardware: {table['hardware']}."]
    if "seeds" in table:
        seeds = table["seeds"] if isinstance(table["seeds"], list) else [table["seeds"]]
        facts.append(f"Seeds: {', '.join(map(str, seeds))}.")
    facts.append(f"Date: {table['date']}. [Numbers](results/{path.name}).")
    parts = [f"### {table['title']}", *listed(table.get("about", []))]
    commands = listed(table["command"])
    if re.match(r"([A-Z_]+=\S+ )*(make|pip|pytest|python) ", commands[0]):
        parts.append("\n".join(["```sh", *commands, "```"]))
    else:  # "not recorded"
        facts.insert(0, f"Command: {'; '.join(commands)}.")
    parts.append(" ".join(facts))
    lines = [head, ["---"] * len(head), *rows]
    parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if "figure" in table:
        parts.append(f"![{table['figure']['shows']}]({table['figure']['path']})")
    parts.append("\n".join(f"- {note}" for note in listed(table.get("notes", []))))
    return "\n\n".join(part for part in parts if part)


def page(folder: Path = HERE) -> str:
    """The text of docs/results.md."""
    sections: dict[str, list[str]] = {name: [] for name in SECTIONS}
    for path in sorted(folder.glob("*.json")):
        table = load(path)
        name = table.get("section", "Other measurements")
        if name not in sections:
            raise ValueError(f'{path.name}: "section" must be one of {SECTIONS}, got {name!r}.')
        sections[name].append(section(path, table))
    filled = [name for name, tables in sections.items() if tables]
    links = (f"[{name}](#{name.lower().replace(' ', '-')})" for name in filled)
    blocks = [HEAD.strip(), " | ".join(links)]
    for name in filled:
        blocks += [f"## {name}", *sections[name]]
    return "\n\n".join(blocks) + "\n"


def networks(file: str) -> dict[str, dict]:
    """The rows of a file by network, with means in the place of one number for each seed."""
    found = {row["network"]: row for row in records(load(HERE / file))}
    for row in found.values():
        row |= {key: value["mean"] for key, value in row.items() if isinstance(value, dict)}
    return found


def draw_gain(path: Path) -> None:
    """A cutout of five categories beside the plain network trained on them."""
    from keras_seqpar.plots import drawing

    pale = "#DDDDDD"
    rows = networks("baselines.json")
    plain, cutout = rows["plain, trained on the first half"], rows["cutout of the first half"]
    figure = drawing.new_figure(8, 2.4)
    axes = figure.add_subplot()
    names = []
    for what, unit, read in (
        ("wrong predictions", "%", lambda row: 100 - row["top-1, first half"]),
        ("int8 latency", "ms", lambda row: row["ms"]),
        ("int8 file", "MB", lambda row: row["int8 kB"] / 1000),
        ("multiply-accumulates", "M", lambda row: row["MMACs"]),
        ("parameters", "M", lambda row: row["parameters"] / 1e6),
    ):
        i = len(names)
        names.append(what)
        share = 100 * read(cutout) / read(plain)
        digits = 2 if unit == "ms" else 1
        change = f"{share - 100:+.0f} %"
        if unit == "%":
            change = f"{read(cutout) - read(plain):+.1f} points"
        axes.barh(i + 0.2, 100, 0.36, color=pale)
        axes.barh(i - 0.2, share, 0.36, color=drawing.GREEN)
        text = f"{read(plain):.{digits}f} {unit}"
        axes.text(101, i + 0.2, text, size=8, va="center", color="#666666")
        text = f"{read(cutout):.{digits}f} {unit} ({change})"
        axes.text(share + 1, i - 0.2, text, size=8, va="center")
    axes.set_yticks(range(len(names)), names, size=9)
    axes.set(xlim=(0, 118), xticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(
        "plain network for five categories (gray), cutout of five of ten (green)", size=9
    )
    drawing.finish(figure, path)


def draw_pareto(file: str, path: Path) -> None:
    """Accuracy on each half of the categories against multiply-accumulates."""
    from keras_seqpar import plots

    points, rows = [], networks(file)
    for half in ("first half", "second half"):
        for group, network in (
            ("cutout of the PHL network", f"cutout of the {half}"),
            ("full PHL network", "full PHL network"),
            ("plain, trained on all", "plain, trained on all"),
            ("plain, trained on the half", f"plain, trained on the {half}"),
        ):
            if not (row := rows.get(network)):
                continue  # not measured
            top1 = row[f"top-1, {half}"] / 100
            macs = row["MMACs"] * 1e6
            points.append({"name": half, "group": group, "cost": macs, "top1": top1})
    plots.pareto(points, path)


def make(results: Path, figures: Path) -> None:
    """Writes the page and the figures."""
    import matplotlib

    results.write_text(page(), "utf-8")
    with matplotlib.rc_context({"svg.hashsalt": "keras_seqpar"}):
        draw_gain(figures / "gain.svg")
        draw_pareto("baselines.json", figures / "pareto.svg")
        draw_pareto("mobile.json", figures / "pareto_mobile.svg")


if __name__ == "__main__":
    make(HERE.parent / "results.md", HERE.parent / "figures")
