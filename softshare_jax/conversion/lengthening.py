"""Makes a run whose loops run more or less often than those of a folded run."""

from softshare_jax.config import Config
from softshare_jax.conversion import settings
from softshare_jax.conversion.output import check_unused, new_workdir, write_run
from softshare_jax.runs.lengthening import with_layers
from softshare_jax.runs.load import Trained, load, load_settled
from softshare_jax.runs.workdir import Workdir


def lengthen_run(
    source: Workdir, output: Workdir, layers: int, config: Config | None = None, step: int | None = None
) -> Trained:
    """Makes a run whose loops run more or less often than those of a folded run.

    Args:
        source: workdir of a folded run; it does not change.
        output: workdir to make; it must not exist, or be an empty folder.
        layers: depth in the name of the new network.
        config: how to train on, from step 0; ``None`` to continue with the source's config from its step.
        step: step of the checkpoint; ``None`` for the newest.

    Returns:
        The new run.

    Raises:
        UserError: the source holds no folded run, its loops do not make that many layers, the config asks for
            annealing or another form of sharing, or the output is in use.
    """
    check_unused(output.root)
    trained = load_settled(source, step)
    if config:
        before = trained.experiment.config
        config = settings.converted(config, before)
        settings.check_form(before, config, "--folded")
    made = with_layers(trained, layers, config)
    made = made._replace(step=0 if config else made.step)
    with new_workdir(output) as workdir:
        write_run(workdir, made.experiment, made.step, made.variables)
        load(workdir)
    return made
