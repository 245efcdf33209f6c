"""A row of the poster as a run: its config, its length and its folder."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from ml_collections import ConfigDict

from softshare_jax import config as config_lib
from softshare_jax.config import recipes
from softshare_jax.models import zoo
from softshare_jax.runs.workdir import Workdir

# Of a smoke run, whose data set is as small.
TINY: dict[str, Any] = {"data.train_examples": 32, "batch_size": 8, "log_every": "2 steps"}
# Evaluations and checkpoints of a run. An epoch may take only some seconds, and a checkpoint as long.
EVALUATIONS, CHECKPOINTS = 40, 20


class Settings(NamedTuple):
    """How a run computes; the fields of the config that are measured."""

    dtype: str
    scan_blocks: str
    steps_per_dispatch: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings among other values."""
        return cls(*(values[field] for field in cls._fields))

    def __str__(self) -> str:
        blocks = "scanned" if self.scan_blocks == "yes" else "unrolled"
        return f"{self.dtype}, blocks {blocks}, {self.steps_per_dispatch} step(s) a dispatch"


class Row(NamedTuple):
    """A row of the poster.

    Attributes:
        variant: variant of ``configs/cifar10.py``.
        epochs: duration of the training.
        smoke: whether it is shrunk to seconds.
    """

    variant: str
    epochs: int
    smoke: bool

    @property
    def model(self) -> str:
        """The network's name."""
        return recipes.cifar_variant(self.variant).model

    @property
    def shares(self) -> bool:
        """Whether its layers share.

        Raises:
            UserError: there is no such network.
        """
        return self.model != zoo.named(self.model).unshared

    @property
    def name(self) -> str:
        """The name of its folder. Another duration is another run: its learning rates fall at other times."""
        return f"{self.variant}-{self.epochs}-epochs{'-smoke' if self.smoke else ''}"

    @property
    def steps(self) -> int:
        """The number of its training steps.

        Raises:
            UserError: there is no such row.
        """
        config = self.config(self.computed(Settings("float32", "no", 1)))
        return config.data.train_examples // config.batch_size * self.epochs

    def workdir(self, output: pathlib.Path) -> Workdir:
        """Returns the workdir of the run."""
        return Workdir(output / self.name)

    def trained(self) -> dict[str, Any]:
        """Returns the fields of the config that make the run, by their full names."""
        return {"duration": f"{self.epochs} epochs", **(TINY if self.smoke else {})}

    def computed(self, settings: Settings) -> dict[str, Any]:
        """Returns the fields that a resumed run may change, and ``dtype``."""
        return {
            **settings._asdict(),
            "evaluate_every": f"{max(1, self.epochs // EVALUATIONS)} epochs",
            "checkpoint_every": f"{max(1, self.epochs // CHECKPOINTS)} epochs",
            "keep_checkpoints": 1,
        }

    def config(self, fields: dict[str, Any], model: str = "") -> config_lib.Config:
        """Returns the config of the run.

        Args:
            fields: what ``computed`` returned.
            model: another network in the same training; empty for the row's own.

        Raises:
            UserError: the row has no such variant.
        """
        values = ConfigDict(recipes.cifar_variant(self.variant).to_dict())
        values.update_from_flattened_dict({**self.trained(), **fields, "model": model or self.model})
        return config_lib.from_dict(values.to_dict())
