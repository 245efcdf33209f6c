"""Which figures a run has."""

import dataclasses
import functools
import re
from collections.abc import Sequence

import numpy as np

from softshare_jax import sharing
from softshare_jax.reporting import animation, curves, diagram, epochs, matrices, scores, tables, truncation
from softshare_jax.reporting.collect import Run
from softshare_jax.reporting.picture import Picture, draw

# Figures of more groups would make a page that nobody scrolls through.
MOST_GROUPS = 8
# Of all animations of a page in one theme.
ANIMATION_BYTES = 600_000


@dataclasses.dataclass(frozen=True)
class GroupPart:
    """The figures of a group. Lists are empty and pictures ``None`` where there is nothing to draw."""

    name: str
    loops: str = ""
    diagram: Picture | None = None
    matrices: tuple[Picture, ...] = ()
    evolution: Picture | None = None
    animation: Picture | None = None


def group_names(run: Run) -> list[str]:
    """Returns the names of the groups, from the history where there is no plan."""
    if run.plan is not None:
        return [group.name for group in run.plan.groups]
    return list(dict.fromkeys(name for at in run.history.values() for by in at.values() for name in by))


def file_names(names: Sequence[str]) -> list[str]:
    """Returns names that may stand in the name of a file, each different."""
    plain = [re.sub(r"[^\w.-]+", "-", name).strip("-.") or "group" for name in names]
    return [name if plain.count(name) == 1 else f"{name}-{place + 1}" for place, name in enumerate(plain)]


def draw_groups(run: Run, assignment: tables.Assignment | None, runs: int = 1) -> tuple[GroupPart, ...]:
    """Draws the groups of a run, the first ``MOST_GROUPS`` of them.

    The similarity matrices are those of the checkpoint, or the last recorded ones without it.

    Args:
        run: with a plan, a similarity history or both; otherwise there is nothing to draw.
        assignment: which layers have one weight; ``None`` without a checkpoint.
        runs: number of runs on the page, which share the bytes for animations.
    """
    names = group_names(run)
    shown = list(zip(names, file_names(names), strict=True))[:MOST_GROUPS]
    now: dict[str, dict] = {}
    if assignment is not None and run.plan is not None and run.variables is not None:
        now = {m: sharing.similarity(run.plan, run.variables, m) for m in sharing.MEASURES}
    elif run.history:
        now = run.history[max(run.history)]
    most_bytes = ANIMATION_BYTES // (runs * max(len(shown), 1))
    return tuple(_group(run, assignment, now, name, file, most_bytes) for name, file in shown)


def _group(
    run: Run,
    assignment: tables.Assignment | None,
    now: dict[str, dict],
    name: str,
    file: str,
    most_bytes: int,
) -> GroupPart:
    folding, loops = None, ""
    if assignment is not None:
        before, after = assignment.before[name], assignment.after[name]
        loops = tables.written_as_loops(after)
        folding = draw(
            f"folding-{file}.png",
            f"The layers of group {name} before and after folding: {loops}",
            functools.partial(diagram.draw_folding, before, after),
        )
    heat_maps = tuple(
        draw(
            f"similarity-{file}-{measure}.png",
            f"Layer similarity matrix of group {name}, measured on {measure}",
            functools.partial(matrices.draw_matrix, np.asarray(now[measure][name]), measure),
        )
        for measure in sharing.MEASURES
        if name in now.get(measure, {})
    )
    history = {
        step: {measure: by_group[name] for measure, by_group in at.items() if name in by_group}
        for step, at in run.history.items()
    }
    history = {step: at for step, at in history.items() if at}
    evolution = animated = None
    if len(history) > 1:
        first = {step: next(iter(at.values())) for step, at in history.items()}
        chosen = {f"step {step:,}": history[step] for step in matrices.spaced_steps(first)}
        evolution = draw(
            f"evolution-{file}.png",
            f"Layer similarity matrices of group {name} at {len(chosen)} steps",
            functools.partial(matrices.draw_evolution, chosen, sharing.MEASURES),
        )
        animated = animation.animate(
            f"evolution-{file}.gif",
            f"Animation of the layer similarity matrices of group {name} over training",
            history,
            sharing.MEASURES,
            most_bytes,
        )
    return GroupPart(name, loops, folding, heat_maps, evolution, animated)


def draw_epochs(run: Run) -> Picture | None:
    """Draws how all groups came to share, where the run has a similarity history and no curriculum."""
    groups = group_names(run)[:MOST_GROUPS]
    if run.experiment is None or run.experiment.task.phases > 1 or len(run.history) < 2:
        return None
    measure = "coefficients"
    history = {
        epochs.label(step, run.experiment.schedule.epoch): run.history[step].get(measure, {})
        for step in epochs.nearest_steps(list(run.history), run.experiment.schedule.total)
    }
    return draw(
        "epochs.png",
        f"Layer similarity matrices of {len(groups)} groups, measured on {measure}, at {len(history)} times",
        functools.partial(matrices.draw_evolution, history, groups),
    )


def draw_truncation(run: Run) -> Picture | None:
    """Draws what the weights lost, where the run was made of another with other templates."""
    if run.conversion is None:
        return None
    groups = run.conversion["groups"][:MOST_GROUPS]
    return draw(
        "error-against-k.png",
        "Relative error of the weights of each group against its number of templates",
        functools.partial(truncation.draw_errors, groups),
    )


def phase_names(run: Run) -> list[str]:
    """Returns the names of the phases of a curriculum; numbers where there is no config."""
    if run.experiment is not None:
        task = run.experiment.task
        names = [task.phase_name(phase) for phase in range(task.phases)]
    else:
        last = max((band.phase for band in curves.phase_bands(run.metrics)), default=-1)
        names = [f"phase {phase + 1}" for phase in range(last + 1)]
    return names if len(names) > 1 else []


def draw_curves(run: Run) -> tuple[Picture, ...]:
    """Draws loss and score over training, as far as they were recorded."""
    if not run.metrics:
        return ()
    names, score, evaluated = phase_names(run), scores.score_name(run), scores.evaluated(run)
    loss_curves = [
        curves.Curve("train/loss", "training", "train"),
        curves.Curve("eval/loss", evaluated, "now"),
    ]
    score_curves = [curves.Curve(f"train/{score}", "training", "train")]
    if names:
        score_curves += [
            curves.Curve(f"eval/{score}", f"{evaluated}, current phase", "now"),
            curves.Curve(f"target/{score}", f"{evaluated}, last phase", "target"),
        ]
    else:
        score_curves += [
            curves.Curve(f"eval/{score}", evaluated, "now"),
            # Measured at the end alone, where images are held out.
            curves.Curve(f"test/{score}", "test", "target"),
        ]
    drawn = []
    for file, title, lines, logarithmic in [
        ("loss.png", "loss", loss_curves, True),
        (f"{file_names([score])[0]}.png", score, score_curves, False),
    ]:
        if any(curves.points(run.metrics, curve.key)[0] for curve in lines):
            figure = functools.partial(
                curves.draw_curves, run.metrics, lines, title, names, logarithmic=logarithmic
            )
            drawn.append(draw(file, f"{title} over training steps", figure))
    return tuple(drawn)
