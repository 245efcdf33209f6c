"""What a release states about itself: versions, license, requirements, and the checks that CI runs."""

import ast
import configparser
import importlib.metadata
import re
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import softshare_jax
from tests.tiny import REPO

SETUP = configparser.ConfigParser()
SETUP.read(REPO / "setup.cfg")

# Distributions that the package imports and does not list -> the requirement that cannot work without them.
BROUGHT = {
    "absl-py": "ml-collections",
    "array-record": "grain",
    "etils": "orbax-checkpoint",
    "jaxlib": "jax",
    "ml-dtypes": "jax",
    "numpy": "jax",
}


def requirements(distribution: str) -> set[str]:
    """Returns the names of what an installed distribution requires on this machine, without extras."""
    all_of_it = map(Requirement, importlib.metadata.requires(distribution) or [])
    return {
        canonicalize_name(requirement.name)
        for requirement in all_of_it
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }


def listed(section: str = "options", name: str = "install_requires") -> set[str]:
    lines = SETUP[section][name].splitlines()
    return {canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("#")}


def test_one_version():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)$", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert citation["version"] == newest[1] == softshare_jax.__version__


def test_one_license():
    text = (REPO / "LICENSE").read_text()
    assert re.match(r"\s*Apache License\s+Version 2.0, January 2004", text)
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["license"] == SETUP["metadata"]["license_expression"] == "Apache-2.0"


def test_every_import_has_a_requirement():
    brings, missing = importlib.metadata.packages_distributions(), []
    always = {*listed(), *BROUGHT}
    for file in (REPO / "softshare_jax").rglob("*.py"):
        module = ast.parse(file.read_text())
        for node in ast.walk(module):
            # Only a function may import what an extra brings.
            allowed = always if node in module.body else always | listed("options.extras_require", "onnx")
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in {name.partition(".")[0] for name in names}:
                if name != "softshare_jax" and name not in sys.stdlib_module_names:
                    # What is not installed has the name of its distribution.
                    distributions = {canonicalize_name(found) for found in brings.get(name, [name])}
                    if not distributions & allowed:
                        missing.append(f"{file.relative_to(REPO)} imports {name}")
    assert not missing


@pytest.mark.parametrize(("distribution", "bringer"), BROUGHT.items())
def test_what_is_not_listed_is_brought(distribution, bringer):
    assert bringer in listed()
    assert distribution not in listed()
    assert distribution in requirements(bringer)


def test_the_workflow_runs_all_checks_on_every_supported_python():
    workflow = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["checks"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    prefix = "Programming Language :: Python :: "
    classifiers = SETUP["metadata"]["classifiers"].splitlines()
    stated = {line.removeprefix(prefix) for line in classifiers if line.startswith(f"{prefix}3.")}
    versions = job["strategy"]["matrix"]["python"]
    assert set(versions) == stated
    assert all(version in SpecifierSet(SETUP["options"]["python_requires"]) for version in versions)
    for step in job["steps"]:
        if "path" in step.get("with", {}):
            assert step["with"]["path"] in (REPO / "Makefile").read_text()


def test_hooks_run_what_lint_runs():
    config = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    recipe = (REPO / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert {hook["id"] for hook in hooks} >= {"ruff-format", "ruff-check", "mypy", "codespell"}
    for hook in hooks:
        assert f"$(BIN)/{hook['entry'].split()[0].removeprefix('.venv/bin/')}" in recipe
