"""Variants of a config file, such as ``swrn-28-10-2-dropout``."""

from collections.abc import Sequence

from softshare_jax.errors import UserError, unknown


def split(variant: str, endings: Sequence[str]) -> tuple[str, set[str]]:
    """Splits a variant into the name of a network and the endings after it.

    Args:
        variant: the name, then any of the endings, each after a dash.
        endings: the known endings, words of at least three letters.

    Raises:
        UserError: the variant ends in an unknown word. A network's name ends in a number or up to 2 letters.
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
