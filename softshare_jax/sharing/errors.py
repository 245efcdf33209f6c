"""The error of this package."""


class PlanError(ValueError):
    """A plan contradicts itself, or the parameters it is used on."""
