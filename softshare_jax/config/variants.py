"""Variants of a config file, such as ``swrn-28-10-2-dropout``."""

from collections.abc import Sequence

from softshare_jax.errors import UserError, unknown


def split(variant: str, endings: Sequence[str]) -> tuple[str, set[str]]:
    """Splits a variant into the name of a network and the endings after it.

    Args:
        variant: the name, followed by any of the endings with a dash each.
        endings: the known ones, words of at least three letters.

    Raises:
        UserError: the variant ends in another word; names of networks end in a number or one or two letters.
    """
    model, found = variant, set()
    while model.endswith(tuple(f"-{ending}" for ending in endings)):
        model, _, ending = model.rpartition("-")
        found.add(ending)
    _, dash, end = model.rpartition("-")
    if dash and end.isalpha() and len(end) > 2:
        known = [f"-{ending}" for ending in endings]
        raise UserError(f"variant {variant!r}: {unknown('ending', dash + end, known)}")
    return model, found
