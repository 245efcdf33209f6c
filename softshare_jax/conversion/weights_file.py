"""Shares the weights in a safetensors file of any model, and writes them back under their own names."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from softshare_jax import durable, sharing
from softshare_jax.conversion.exporting import SHARED, write_weights
from softshare_jax.conversion.output import check_unused, new_folder
from softshare_jax.conversion.resizing import relative_errors
from softshare_jax.errors import UserError, cannot_write
from softshare_jax.exports import weights
from softshare_jax.runs.artifacts import Counts, Resized
from softshare_jax.sharing.parameters import count
from softshare_jax.sharing.tree import leaves

PLAN, CONVERSION = "plan.json", "conversion.json"
# Keys in the metadata of shared.safetensors.
_PLAN, _SEPARATOR, _METADATA = "plan", "separator", "source_metadata"


@dataclasses.dataclass(frozen=True)
class SharedFile:
    """The result of sharing the weights in a file.

    Attributes:
        source: the file.
        parameters: number of parameters in the file, and in the templates, coefficients and private weights.
        groups: the groups, in the order of the plan.
    """

    source: str
    parameters: Counts
    groups: tuple[Resized, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"format": 1, **dataclasses.asdict(self), "groups": [group.to_json() for group in self.groups]}


def share_file(
    source: pathlib.Path,
    output: pathlib.Path,
    rule: sharing.Rule,
    templates: int | None = None,
    budget: int | None = None,
) -> SharedFile:
    """Writes a folder with ``shared.safetensors``, ``plan.json`` and ``conversion.json``.

    A tensor named ``layer.0.query.weight`` has the path ``layer/0/query/weight``, which rules see. In
    ``shared.safetensors`` its name starts with the collection: ``params/layer/0/...`` if it is private.

    Args:
        source: safetensors file of any model.
        output: folder to create; it must not exist, or must be empty.
        rule: chooses the groups.
        templates: k of every group; ``None`` for as many templates as layers, which loses nothing.
        budget: alternative to ``templates``: the most parameters in all; each group then gets the k with
            the least loss.

    Returns:
        What the folder holds, which is also its ``conversion.json``.

    Raises:
        UserError: the file cannot be read, the rule does not fit its tensors, or the output is in use.
    """
    check_unused(output)
    arrays, metadata = weights.read_arrays(source)
    separator = "/" if any("/" in name for name in arrays) else "."
    if not sum(array.size for array in arrays.values()):
        raise UserError(f"{source} has no weights")
    params = weights.nested(arrays, lambda name: name.split(separator), source)
    with _all_dtypes(), _mistakes_in(source):
        largest = rule(params)
        plan = largest if templates is None else largest.with_templates(templates)
        plan = plan if budget is None else sharing.by_budget(largest, budget)(params)
        shared = jax.device_get(sharing.from_dense(plan, params))
        errors = relative_errors(plan, params)
    made = SharedFile(
        str(source),
        Counts(count({"params": params}).total, count(shared).total),
        tuple(Resized(g.name, g.templates, e) for g, e in zip(plan.groups, errors, strict=True)),
    )
    facts = {_PLAN: plan.to_json(), _SEPARATOR: separator, _METADATA: json.dumps(metadata)}
    with new_folder(output) as folder:
        write_weights(folder / SHARED, shared, facts)
        (folder / PLAN).write_text(plan.to_json())
        (folder / CONVERSION).write_text(json.dumps(made.to_json(), indent=1))
    return made


def materialize_file(source: pathlib.Path, output: pathlib.Path) -> int:
    """Writes the weights of a folder of ``share_file`` to a file with the names and dtypes of the original.

    Args:
        source: the folder, or ``shared.safetensors`` in it.
        output: file to create.

    Returns:
        The number of tensors.

    Raises:
        UserError: there are no shared weights in the source, or the output exists or cannot be written.
    """
    if output.exists():
        raise UserError(f"--output {output} exists: name a new file")
    file = source / SHARED if source.is_dir() else source
    variables, facts = weights.read(file)
    if _PLAN not in facts or _SEPARATOR not in facts:
        raise UserError(f"{file} was not written by convert --safetensors")
    with _all_dtypes(), _mistakes_in(file):
        plan = sharing.Plan.from_json(facts[_PLAN])
        params = jax.device_get(sharing.materialize(plan, variables))
        metadata = json.loads(facts.get(_METADATA, "{}"))
    arrays = {
        facts[_SEPARATOR].join(path): np.asarray(array, order="C") for path, array in leaves(params).items()
    }
    try:
        durable.write_new(output, save(arrays, metadata))
    except FileExistsError as error:
        raise UserError(
            f"--output {output} was made by another command meanwhile: name a new file"
        ) from error
    except OSError as error:
        raise cannot_write(f"--output {output}", error) from error
    return len(arrays)


def describe(made: SharedFile) -> str:
    """Returns what was made as the lines that ``convert`` prints."""
    before, after = made.parameters.before, made.parameters.after
    lines = [f"{made.source}: {before:,} -> {after:,} parameters ({made.parameters.kept:.1%})"]
    width = max(len(group.name) for group in made.groups)
    lines += [
        f"  {group.name:{width}}  {group.layers} layers, k = {group.templates}, "
        f"relative error {group.relative_error[group.templates - 1]:.3f}"
        for group in made.groups
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def _all_dtypes() -> Iterator[None]:
    """Lets jax keep 64-bit dtypes, which files may have."""
    with jax.enable_x64(True):
        yield


@contextlib.contextmanager
def _mistakes_in(file: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except sharing.PlanError as error:
        raise UserError(f"{file}: {error}") from error
