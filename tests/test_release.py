"""What is read elsewhere and not run here: workflows, hooks, the citation."""

import re
import tomllib

import pytest

yaml = pytest.importorskip("yaml")
pytestmark = pytest.mark.only_backend("tensorflow")


def steps(root):
    """The steps of all jobs in .github/workflows, with the values of their matrix."""
    for path in sorted((root / ".github" / "workflows").glob("*.yml")):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job.get("steps", []):
                yield job.get("strategy", {}).get("matrix", {}), step


def test_workflows_run_targets_of_make(root):
    """With every value that their matrix gives."""
    makefile = (root / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.M))
    run = {step["run"]: matrix for matrix, step in steps(root) if "run" in step}
    made = [(text, matrix) for text, matrix in run.items() if text.startswith("make ")]
    assert len(made) > 4
    for text, matrix in made:
        target = text.split()[1]
        values = matrix["target"] if target == "${{" else [target]
        assert set(values) <= targets
        for name in re.findall(r"matrix\.(\w+)", text):
            assert matrix[name]


def test_one_environment_has_all_extras_but_qat(root):
    """There `pip check` finds extras that contradict each other."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    (listed,) = re.findall(r"^EXTRAS = (.*)$", (root / "Makefile").read_text(), re.M)
    assert {*listed.split(","), "qat"} == set(project["optional-dependencies"])


def test_the_smoke_tests_cover_the_claimed_versions(root):
    project = (root / "pyproject.toml").read_text()
    claimed = re.findall(r"Python :: (3\.\d+)", project)
    matrix = next(m for m, step in steps(root) if "test-alone" in step.get("run", ""))
    assert claimed and set(claimed) <= set(matrix["python"])
    bounds = dict(re.findall(r'"([a-z-]+)>=([0-9.]+)"', project))
    for line in (root / "tests" / "oldest.txt").read_text().splitlines():
        if not line.startswith("#") and "python_version >=" not in line:
            name, version = line.partition(";")[0].split("==")
            assert version.startswith(bounds[name]), f"{line} is not the bound in pyproject.toml"


def test_citation_and_changelog(root):
    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    papers = {entry["identifiers"][0]["value"] for entry in cited["references"]}
    assert papers == {"arXiv:2308.05128", "arXiv:2407.01782"}
    assert (root / "CHANGELOG.md").read_text().count("\n## [0.1.0]") == 1
