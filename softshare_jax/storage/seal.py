"""The seal of a checkpoint: everything that a resumed run depends on, and a checksum of it."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from softshare_jax import config as config_lib
from softshare_jax import durable
from softshare_jax.errors import UserError
from softshare_jax.sharing import Plan, PlanError
from softshare_jax.storage import sealed_json, versions
from softshare_jax.storage.damage import Damaged, first_line

FORMAT = 1
# Its file in the folder of a step, and the file in which earlier versions kept the scores.
FILE = pathlib.PurePath("seal", "metadata")
EARLIER_METRICS = pathlib.PurePath("metrics", "metrics")


@dataclasses.dataclass(frozen=True)
class Seal:
    """What a checkpoint says about itself.

    Seals of earlier versions hold only ``arrays``; ``step`` is then ``None``, and the others are empty.

    Attributes:
        arrays: checksum of each item, such as ``{"variables": ...}``, over the restored arrays.
        step: steps taken.
        scores: of the evaluation at this step, by name; empty where there was none.
        config: the run's config, as ``config.json`` holds it.
        plan: the run's plan, as ``plan.json`` holds it.
        files: size in bytes and SHA-256 of every other file of the step, by path.
    """

    arrays: Mapping[str, str]
    step: int | None = None
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    plan: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = dataclasses.field(default_factory=dict)

    @property
    def versions(self) -> Mapping[str, Any]:
        """The versions that wrote it, as ``versions.stamp`` returns them; empty where they are not known."""
        return self.config.get(versions.VERSION, {})

    def check_run(self, folder: pathlib.Path, config: config_lib.Config, plan: Plan) -> None:
        """Compares the seal with the name of the folder, the config and the plan.

        Args:
            folder: of the step.
            config: of the run, from ``config.json``.
            plan: of the run, from ``plan.json``.

        Raises:
            UserError: the folder was renamed, or the config or the plan is not that of the checkpoint.
        """
        if self.step is None:
            return
        if folder.name != str(self.step):
            raise UserError(f"{folder} holds step {self.step}: give the folder its name back")
        sealed = config_lib.from_dict(versions.migrate(self.config, f"the config of checkpoint {folder}"))
        if difference := config_lib.first_difference(sealed, config):
            raise UserError(
                f"checkpoint {folder} is of another config: {difference}; undo the change of config.json"
            )
        try:
            difference = plan_difference(Plan.from_json(json.dumps(self.plan)), plan)
        except PlanError as error:
            raise UserError(f"the plan of checkpoint {folder} cannot be read: {error}") from error
        if difference:
            raise UserError(
                f"checkpoint {folder} is of another plan: {difference}; undo the change of plan.json"
            )

    def wrong_file(self, folder: pathlib.Path) -> str | None:
        """Returns what is wrong with the first file of a step that does not match, or ``None``.

        Raises:
            OSError: a file exists and cannot be read.
        """
        for name, (size, digest) in self.files.items():
            try:
                found = _facts(folder / name)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return f"{name} is missing"
            if found[0] != size:
                return f"{name} has {found[0]} bytes and not {size}"
            if found[1] != digest:
                return f"the checksum of {name} is wrong"
        return None


def write(folder: pathlib.Path, seal: Seal) -> None:
    """Seals a step whose other files are complete, with their sizes and checksums.

    Raises:
        OSError: a file cannot be read, or the seal cannot be written.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    values = {
        "format": FORMAT,
        "step": seal.step,
        **seal.arrays,
        "scores": seal.scores,
        "config": seal.config,
        "plan": seal.plan,
        "files": {name: _facts(folder / name) for name in names},
    }
    durable.make_folder((folder / FILE).parent)
    durable.write(folder / FILE, json.dumps(sealed_json.seal(values)).encode())


def read(folder: pathlib.Path) -> Seal:
    """Reads the seal of a step.

    Raises:
        Damaged: it is missing, or its content does not match its checksum.
        OSError: it exists and cannot be read.
        UserError: a newer version wrote it.
    """
    try:
        values = json.loads((folder / FILE).read_bytes())
        if isinstance(values, dict) and set(values) == {"variables", "optimizer"}:
            return Seal(values)
        values = sealed_json.unseal(values)
        if values["format"] != FORMAT:
            raise UserError(f"checkpoint {folder} has format {values['format']}: use a newer softshare_jax")
        return Seal(
            {item: values[item] for item in ("variables", "optimizer")},
            values["step"],
            values["scores"],
            values["config"],
            values["plan"],
            {name: (size, digest) for name, (size, digest) in values["files"].items()},
        )
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Damaged("it has no seal") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"its seal is not one: {first_line(error)}") from error


def score(folder: pathlib.Path, name: str) -> float | None:
    """Returns a score of a step, or ``None`` where it has none or its seal is damaged.

    Raises:
        OSError: the seal exists and cannot be read.
    """
    try:
        seal = read(folder)
        scores = seal.scores if seal.step is not None else json.loads((folder / EARLIER_METRICS).read_bytes())
        return float(scores[name])
    except (Damaged, UserError, FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return None


def plan_difference(old: Plan, new: Plan) -> str | None:
    """Returns the first difference of two plans, with both values, or ``None``."""
    names = [[group.name for group in plan.groups] for plan in (old, new)]
    if names[0] != names[1]:
        return f"its groups are {', '.join(names[0])} there and {', '.join(names[1])} here"
    for before, after in zip(old.groups, new.groups, strict=True):
        for field in dataclasses.fields(before):
            values = getattr(before, field.name), getattr(after, field.name)
            if values[0] != values[1]:
                return f"{field.name} of group {before.name!r}{_where(*values)}"
    return None


def _where(old: Any, new: Any) -> str:
    if isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        index = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
        return f" at {index} is {old[index]} there and {new[index]} here"
    return f" is {old} there and {new} here"


def _facts(file: pathlib.Path) -> tuple[int, str]:
    """Returns the size of a file in bytes and its SHA-256."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest
