"""The page of results: it is what its command makes of the JSON files beside it."""

import json
import pathlib
import runpy
import types

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
TABLE = {
    "title": "Speed",
    "date": "2026-01-02",
    "command": "python run.py --fast",
    "hardware": "1 core",
    "seeds": [0, 1],
    "columns": ["network", "top-1, %", "ms"],
    "rows": [["small", [80.0, 82.0], 1.5], ["lar|ge", None, 2000]],
    "notes": "One note.",
}


@pytest.fixture(scope="module")
def maker():
    return types.SimpleNamespace(**runpy.run_path(str(DOCS / "results" / "make.py")))


def page_of(maker, folder, text):
    (folder / "speed.json").write_text(text if isinstance(text, str) else json.dumps(text))
    return maker.page(folder)


def test_page_and_figures_are_what_the_files_say(maker, tmp_path):
    pytest.importorskip("matplotlib")
    maker.make(tmp_path / "results.md", tmp_path)
    for made, stored in (
        ("results.md", DOCS / "results.md"),
        ("gain.svg", DOCS / "figures" / "gain.svg"),
        ("pareto.svg", DOCS / "figures" / "pareto.svg"),
        ("pareto_mobile.svg", DOCS / "figures" / "pareto_mobile.svg"),
    ):
        assert (tmp_path / made).read_text("utf-8") == stored.read_text("utf-8"), (
            f"{stored.name} and docs/results/*.json differ: run `python docs/results/make.py`."
        )


def test_a_file_becomes_a_table(maker, tmp_path):
    text = page_of(maker, tmp_path, TABLE)
    for part in (
        "## Other measurements\n\n### Speed\n",
        "```sh\npython run.py --fast\n```",
        "Hardware: 1 core. Seeds: 0, 1. Date: 2026-01-02. [Numbers](results/speed.json).",
        "| network | top-1, % | ms |\n| --- | --- | --- |\n",
        "| small | 81.00 (1.41) | 1.5 |\n",  # the mean and the standard deviation over seeds
        "| lar\\|ge | - | 2,000 |\n",
        "\n- One note.\n",
    ):
        assert part in text, text


def test_numbers_are_shown_as_written_or_in_the_given_format(maker, tmp_path):
    text = json.dumps(TABLE | {"formats": {"ms": ".2f"}}).replace("1.5", "1.499")
    assert "| 1.50 |" in page_of(maker, tmp_path, text)
    assert "| 1.50 |" in page_of(maker, tmp_path, json.dumps(TABLE).replace("1.5", "1.50"))


def test_a_pivot_has_one_column_for_each_value(maker, tmp_path):
    pivot = {"down": ["file"], "across": "changed", "cell": "{ms} ms"}
    rows = [["a", "1 %", 5], ["a", "2 %", 6], ["b", "2 %", 7]]
    table = TABLE | {"columns": ["file", "changed", "ms"], "rows": rows, "pivot": pivot}
    text = page_of(maker, tmp_path, table)
    assert "| file | changed 1 % | changed 2 % |" in text
    assert "| a | 5 ms | 6 ms |\n| b | - | 7 ms |" in text


def test_a_command_that_is_not_recorded_is_said_to_be_so(maker, tmp_path):
    text = page_of(maker, tmp_path, TABLE | {"command": "not recorded"})
    assert "Command: not recorded. Hardware" in text and "```" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": ""}, r"speed.json lacks \['date'\].*not recorded"),
        ({"datum": 1}, r"unknown \['datum'\].*Optional: section"),
        ({"rows": [["small", 1]]}, r"has 3 columns, got the row \['small', 1\]"),
        ({"section": "More"}, "must be one of .*Accuracy.*got 'More'"),
    ],
)
def test_files_of_another_form_are_refused(maker, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        page_of(maker, tmp_path, TABLE | change)


def test_what_is_not_json_is_named(maker, tmp_path):
    with pytest.raises(ValueError, match=r"speed\.json is not JSON"):
        page_of(maker, tmp_path, "{")
    with pytest.raises(ValueError, match=r"speed\.json must be an object with title"):
        page_of(maker, tmp_path, "[]")
