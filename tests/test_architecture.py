"""The package is what the tree of docs/design.md says, and imports point down it without cycles.

Every import counts, also one in a function or for types. Rooms within rooms have no order of their own.
"""

import ast
import graphlib
import pathlib
import re

REPO = pathlib.Path(__file__).parents[1]
PACKAGE = "softshare_jax"


def tree():
    """The names of the commands, of the rooms from top to bottom, and of the base."""
    page = (REPO / "docs" / "design.md").read_text()
    block = re.search(rf"^{PACKAGE}/\n(.*?)^\S", page, re.DOTALL | re.MULTILINE)[1]
    rooms = re.findall(r"^  (\w+)/", block, re.MULTILINE)
    commands, base = (
        re.findall(r"(\w+)\.py", line) for line in re.findall(r"^  \w+\.py.*", block, re.MULTILINE)
    )
    return commands, rooms, base


def modules():
    """The name of each module and what it imports of the package, with the packages around that."""
    files = {name_of(file): file for file in (REPO / PACKAGE).rglob("*.py")}
    return {
        name: {part for other in imported(file, files) for part in around(other)} - around(name)
        for name, file in files.items()
    }


def around(name):
    """A module and the packages that it is in, whose code runs before its own."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def name_of(file):
    parts = file.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file, files):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} has a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield from {submodule if submodule in files else node.module} & files.keys()


def test_the_page_has_every_room_and_file():
    commands, rooms, base = tree()
    root = REPO / PACKAGE
    assert {*rooms} == {path.parent.name for path in root.glob("*/__init__.py")}
    assert {*commands, *base} == {path.stem for path in root.glob("*.py")} - {"__init__", "__main__"}


def test_imports_point_down_the_tree():
    commands, rooms, base = tree()
    # The commands do not import each other.
    floors = {**dict.fromkeys(commands, 0), **{room: 1 + at for at, room in enumerate(rooms)}}
    floors |= dict.fromkeys(base, 1 + len(rooms))
    upward = []
    for name, found in modules().items():
        for other in found:
            # The package itself is above all, and its __main__ beside the commands.
            top, below = ([*module.split("."), ""][1] for module in (name, other))
            inside = top == below or {top, below} <= {*base}
            if top != "__main__" and not inside and floors.get(below, 0) <= floors.get(top, len(floors)):
                upward.append(f"{name} imports {other}")
    assert upward == []


def test_modules_import_each_other_without_cycles():
    graphlib.TopologicalSorter(modules()).prepare()
