"""Shares a trained run, or gives it another number of templates, in a workdir of its own."""

import dataclasses
from typing import Any

import jax
import numpy as np

from softshare_jax import sharing
from softshare_jax.config import Config
from softshare_jax.conversion import difference, settings
from softshare_jax.conversion.batch_norm import make_reestimation
from softshare_jax.conversion.calibration import input_moments
from softshare_jax.conversion.output import check_shapes, check_unused, new_workdir, write_run
from softshare_jax.errors import UserError
from softshare_jax.models import zoo
from softshare_jax.runs.artifacts import Conversion, Models, Resized
from softshare_jax.runs.load import load, load_settled
from softshare_jax.runs.workdir import Workdir
from softshare_jax.sharing.materialization import stack_members
from softshare_jax.training.experiment import make_experiment, sharing_rule


def resize_run(
    source: Workdir,
    output: Workdir,
    templates: int | None = None,
    budget: int = 0,
    config: Config | None = None,
    step: int | None = None,
    batch_norm_batches: int = 0,
    calibration_batches: int = 0,
) -> Conversion:
    """Makes a run with k templates a group of a trained one, which may be unshared.

    With fewer templates than before, each group becomes the best k templates of its weights
    (``sharing.resize``). With more, the network computes what it did. An unshared run becomes the best fit of
    the config's form of sharing (``sharing.from_dense``).

    Args:
        source: workdir of a trained run; it is not changed.
        output: workdir to make; it must not exist, or be an empty folder.
        templates: k of every group.
        budget: used if ``templates`` is ``None``: the most parameters that the network may have; k is then
            chosen for each group (``sharing.by_budget``).
        config: how to train on, from step 0; ``None`` to go on with the source's own from its step.
        step: of the checkpoint; ``None`` for the newest.
        batch_norm_batches: training batches over which batch-norm is re-estimated afterwards; 0 to keep its
            statistics.
        calibration_batches: for an unshared run, training batches over which the inputs of layers are
            measured; the fit then minimizes the error of their outputs. 0 to fit the weights.

    Returns:
        What became of it, which is also the output's ``conversion.json``.

    Raises:
        UserError: the source holds no trained run, its groups cannot have that many templates, the budget is
            too small, the config is for another network or has another form of sharing than a shared source,
            no layer's inputs can be read for the calibration, or the output is in use.
    """
    for flag, batches in (("batch_norm", batch_norm_batches), ("calibration", calibration_batches)):
        if batches < 0:
            raise UserError(f"--{flag}_batches is 0 or more, not {batches}")
    check_unused(output.root)
    before = load_settled(source, step)
    experiment, model = before.experiment, before.experiment.config.model
    name = zoo.soft_shared(model, templates)
    new_config = settings.converted(config, experiment.config) if config else experiment.config
    new_config = dataclasses.replace(new_config, model=name)
    dense = experiment.programs.to_dense(before.variables)["params"]
    shared = bool(experiment.plan.groups)
    if shared:
        settings.check_form(experiment.config, new_config, "--shared")
    try:
        largest = dataclasses.replace(new_config, model=zoo.soft_shared(model))
        plan = experiment.plan if shared else sharing_rule(largest)(dense)
        chosen = _within(plan, dense, budget) if templates is None else plan.with_templates(templates)
    except sharing.PlanError as error:
        raise UserError(f"{source.root} ({model}): {error}") from error
    after = make_experiment(new_config, chosen)
    reestimate = make_reestimation(experiment, batch_norm_batches) if batch_norm_batches else None
    experiment.task.prepare()
    fitted = {}
    if shared:
        _, variables = sharing.resize(plan, before.variables, chosen.templates)
    else:
        moments = input_moments(before, chosen, calibration_batches) if calibration_batches else None
        variables = {**before.variables, **sharing.from_dense(chosen, dense, moments)}
        if moments or any(group.rank for group in chosen.groups):
            fitted = _fitted_errors(chosen, dense, variables)
    check_shapes(variables, after.programs.state_shapes().variables, str(source.root))
    if reestimate:
        renewed = reestimate(after.programs.to_dense(variables))
        variables = {**variables, "batch_stats": renewed["batch_stats"]}
    with new_workdir(output) as workdir:
        write_run(workdir, after, 0 if config else before.step, variables)
        conversion = Conversion(
            step=before.step,
            # It describes what is read back from disk.
            difference=difference.measure(before, load(workdir)),
            source=str(source.root),
            batch_norm_batches=batch_norm_batches,
            model=Models(model, name),
            groups=tuple(
                Resized(group.name, group.templates, errors, fitted.get(group.name))
                for group, errors in zip(chosen.groups, relative_errors(plan, dense), strict=True)
            ),
        )
        workdir.write_sealed(workdir.conversion_file, conversion.to_json())
    return conversion


def describe(conversion: Conversion) -> str:
    """Returns a conversion as the lines that ``convert`` prints."""
    most = max(group.layers for group in conversion.groups)
    width = max(len(group.name) for group in conversion.groups)
    lines = [
        f"{conversion.model.before} at step {conversion.step} became {conversion.model.after}",
        *difference.describe(conversion.difference),
        "  relative error of the weights with k templates; the chosen k is in []",
        f"    {'k':{width}}" + "".join(f"{k:>9}" for k in range(1, most + 1)),
    ]
    for group in conversion.groups:
        errors = enumerate(group.relative_error, start=1)
        cells = (f"[{e:.3f}]" if k == group.templates else f"{e:.3f} " for k, e in errors)
        lines.append(f"    {group.name:{width}}" + "".join(f"{cell:>10}"[1:] for cell in cells))
    if fitted := {g.name: g.fitted_error for g in conversion.groups if g.fitted_error is not None}:
        found = ", ".join(f"{name} {error:.3f}" for name, error in fitted.items())
        lines.append(f"  relative error of the weights as fitted: {found}")
    return "\n".join([*lines, *difference.describe_batch_norm(conversion.batch_norm_batches)])


def _within(plan: sharing.Plan, params: Any, budget: int) -> sharing.Plan:
    """Returns the plan with the templates that the budget buys, never more than there are."""
    chosen = sharing.by_budget(plan, budget)(params)
    there = zip(chosen.groups, plan.groups, strict=True)
    return plan.with_templates({new.name: min(new.templates, old.templates) for new, old in there})


def _fitted_errors(plan: sharing.Plan, params: Any, variables: dict[str, Any]) -> dict[str, float]:
    """Returns for each group the error of the weights that variables make, as a fraction of their norm."""
    errors = {}
    _, dense = stack_members(plan, params)
    _, found = stack_members(plan, sharing.materialize(plan, variables))
    for name, weights in dense.items():
        whole, lost = np.asarray(weights, np.float64), np.asarray(found[name] - weights, np.float64)
        errors[name] = float(np.linalg.norm(lost) / max(np.linalg.norm(whole), np.finfo(np.float64).tiny))
    return errors


def relative_errors(plan: sharing.Plan, params: Any) -> list[tuple[float, ...]]:
    """Returns for each group what its weights lose with 1 to L templates, as a fraction of their norm."""
    errors = []
    for values in jax.device_get(sharing.spectra(plan, params)).values():
        whole = max(np.sum(np.float64(values) ** 2), np.finfo(np.float64).tiny)
        errors.append(tuple(np.sqrt(sharing.truncation_errors(values) / whole).tolist()))
    return errors
