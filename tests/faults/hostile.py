"""Hostile workdirs: commands that read one execute nothing from it and do not exhaust memory.

python -m tests.faults.hostile
"""

import json
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tests import tiny
from tests.faults.one_run import BOUND, train
from tests.faults.verdict import Tried, Verdict, report

SETTING = {"duration": "4 steps", "data__phase": "2 steps"}
# Modules of the standard library, of installed packages, and optional imports of libraries.
MODULES = ("json", "logging", "tempfile", "jax", "numpy", "flax", "orbax", "torch", "tensorflow", "planted")
MEMORY_KIB = 8 << 20


class Case(NamedTuple):
    """Something hostile in a workdir.

    Attributes:
        what: kind of attack.
        plant: writes it into a folder; ``EXECUTED`` in that folder must not exist afterwards.
        commands: commands that read the folder, with their arguments.
    """

    what: str
    plant: Callable[[pathlib.Path], None]
    commands: tuple[tuple[str, ...], ...]


class Payload:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def __reduce__(self):
        return (pathlib.Path.write_text, (self.folder / "EXECUTED", "by a pickle"))


def plant_modules(folder: pathlib.Path) -> None:
    """Plants modules and a style sheet in the folder that commands run in."""
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'EXECUTED')!r}, 'a').write('{name} ')\n")
    (folder / "matplotlibrc").write_text("text.usetex: True\n")


def plant_data_set(folder: pathlib.Path) -> None:
    """Makes the config name a data set whose features have a planted class."""
    plant_modules(folder)
    version = folder / "data" / "cifar10" / "3.0.2"
    version.mkdir(parents=True)
    (version / "features.json").write_text(json.dumps({"pythonClassName": "planted.Feature"}))
    (version / "dataset_info.json").write_text(json.dumps({"name": "cifar10", "version": "3.0.2"}))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model": "wrn-10-1", "data_dir": str(folder / "data"), "data": {"name": "cifar10"}}
    config["sharing"]["recurrence"] = 0.0
    (folder / "config.json").write_text(json.dumps(config))
    # The run has no checkpoint, so that training reads the data set.
    (folder / "plan.json").write_text(json.dumps({"version": 1, "groups": []}))
    shutil.rmtree(folder / "checkpoints")


def plant_pickled_similarity(folder: pathlib.Path) -> None:
    """Replaces an array of the similarity history with a pickle."""
    for file in (folder / "similarity").glob("*.npz"):
        np.savez(file, **{"weights/blocks": np.array([Payload(folder)], object)})


def plant_torch_file(folder: pathlib.Path) -> None:
    """Writes a PyTorch checkpoint whose pickle is a payload."""
    with zipfile.ZipFile(folder / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Payload(folder), 2))
        archive.writestr("model/version", "3\n")


def plant_bomb(folder: pathlib.Path) -> None:
    """Writes a PyTorch checkpoint that unpacks to 1 GB."""
    with zipfile.ZipFile(folder / "model.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("model/data.pkl", "w", force_zip64=True) as member:
            for _ in range(8):
                member.write(bytes(1 << 27))
        archive.writestr("model/version", "3\n")


def plant_deep_json(folder: pathlib.Path) -> None:
    """Nests the JSON files deeper than any parser recurses."""
    for name in ("plan.json", "certificate.json"):
        (folder / name).write_text('{"version": 1, "groups": ' + "[" * 100_000 + "]" * 100_000 + "}")


def plant_markup(folder: pathlib.Path) -> None:
    """Writes markup where a page shows text."""
    plan = json.loads((folder / "plan.json").read_text())
    plan["groups"][0]["name"] = "<script>document.title='EXECUTED'</script>"
    (folder / "plan.json").write_text(json.dumps(plan))


READERS = (("main", "--mode=evaluate"), ("report",), ("fold", "--output=out"), ("export", "--output=sent"))
TORCH = (("convert", "--torch=model.pt", "--model=swrn-10-1-2", "--output=theirs"),)
CASES = (
    Case("modules in the folder", plant_modules, (*READERS, ("main", "--config.duration=6 steps"))),
    Case("a data set with a class of its own", plant_data_set, (("main",),)),
    Case("a pickle among the matrices", plant_pickled_similarity, (("report",),)),
    Case("a pickle as a PyTorch file", plant_torch_file, TORCH),
    Case("a bomb as a PyTorch file", plant_bomb, TORCH),
    Case("deep JSON", plant_deep_json, READERS),
    Case("markup as a name", plant_markup, (("report",),)),
)


def run(commands: int | None = None) -> Iterator[Tried]:
    """Lets commands read hostile copies of a run, and yields the outcomes.

    Args:
        commands: the number of commands of each case; ``None`` for all.
    """
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        assert train(root / "run", **SETTING).returncode == 0
        for case in CASES:
            for number, command in enumerate(case.commands[:commands]):
                folder = root / f"{CASES.index(case)}-{number}"
                shutil.copytree(root / "run", folder)
                case.plant(folder)
                yield attempt(case, folder, command)
                shutil.rmtree(folder)


def attempt(case: Case, folder: pathlib.Path, command: tuple[str, ...]) -> Tried:
    """Runs a command in a hostile folder, with 8 GiB of memory, and judges it."""
    name, *arguments = command
    if name != "convert":
        arguments.append("--workdir=.")
    limited = ["bash", "-c", f'ulimit -v {MEMORY_KIB}; exec "$@"', "bash"]
    done = subprocess.run(
        [*limited, sys.executable, "-m", f"softshare_jax.{name}", *arguments],
        cwd=folder,
        env=tiny.environment(),
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    what, detail = f"hostile: {case.what}", f"{' '.join(command)}: {done.stderr.strip()[-1000:]}"
    page = folder / "report.html"
    if (folder / "EXECUTED").exists() or (page.exists() and "<script>document.title" in page.read_text()):
        return Tried(what, Verdict.WRONG, f"executed; {detail}")
    if done.returncode == 0:
        return Tried(what, Verdict.RIGHT, detail)
    one_line = len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
    return Tried(what, Verdict.SAID if one_line else Verdict.TRACEBACK, detail)


def main() -> None:
    """Runs this suite and prints a line for each case, then the table."""
    report(run())


if __name__ == "__main__":
    main()
