"""The config of a converted run."""

import dataclasses

from softshare_jax.config import Config
from softshare_jax.errors import UserError


def converted(config: Config, source: Config) -> Config:
    """Returns a new config for a run that is converted from a trained one and starts at step 0.

    The converted run has its templates from the start, so a source's annealing is not repeated.

    Raises:
        UserError: the config asks for an annealing of its own.
    """
    if config.sharing.anneal not in ("", source.sharing.anneal):
        raise UserError(
            "config.sharing.anneal starts with one template per layer, and a converted run has its templates "
            "from the start: leave it empty"
        )
    return dataclasses.replace(config, sharing=dataclasses.replace(config.sharing, anneal=""))


def check_form(before: Config, after: Config, flag: str) -> None:
    """Rejects a config with another form of sharing than the source, whose plan the new run keeps.

    Args:
        before, after: configs of the source and of the new run.
        flag: flag of the source.

    Raises:
        UserError: the configs differ in coefficients per channel or in residuals.
    """
    for field in ("per_channel", "rank"):
        old, new = (getattr(config.sharing, field) for config in (before, after))
        if old != new:
            raise UserError(
                f"{flag} keeps the form of sharing: config.sharing.{field} of the run is {old}, not {new}"
            )
