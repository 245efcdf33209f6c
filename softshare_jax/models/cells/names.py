"""The networks of cells by name."""

from softshare_jax.errors import UserError
from softshare_jax.models.cells.genotypes import GENOTYPES, Genotype
from softshare_jax.models.cells.network import CellNetwork, reductions
from softshare_jax.models.cells.operations import kernels
from softshare_jax.models.initializers import uniform_fan_in
from softshare_jax.models.network import SMALL_IMAGES, Options
from softshare_jax.models.registry import Architecture, Family, Shareable

FEWEST = 5


def architecture(name: str, cells: int | None, channels: int | None) -> Architecture:
    """Returns ``darts`` and others in the published size, ``darts-8x16`` with 8 cells and 16 channels.

    Shareable: in each stage, the kernels at the same place of its normal cells. Each kernel of each
    operation is a group.

    Raises:
        UserError: there are too few cells.
    """
    genotype = GENOTYPES[name]
    number = genotype.cells if cells is None else cells
    if number < FEWEST:
        raise UserError(f"a network of cells has {FEWEST} or more, not {number}")

    def build(options: Options) -> CellNetwork:
        return CellNetwork(
            genotype,
            number,
            channels or genotype.channels,
            options.num_classes,
            options.layers(uniform_fan_in),
            bool(options.aux_loss_weight),
        )

    shareable = _shareable(genotype, number)
    return Architecture(build, SMALL_IMAGES, shareable, supports=("aux_loss_weight", "drop_path_rate"))


def _shareable(genotype: Genotype, cells: int) -> dict[str, Shareable]:
    first, second = reductions(cells)
    stages = (range(first), range(first + 1, second), range(second + 1, cells))
    groups = {}
    for stage, members in enumerate(stages, start=1):
        within = "|".join(map(str, members))
        edges = [edge for node in genotype.normal.nodes for edge in node]
        for number, (operation, _) in enumerate(edges):
            for kernel in kernels(operation):
                place = f"edge_{number}/{kernel}"
                name = f"stage_{stage}_{place.removesuffix('/kernel').replace('/', '_')}"
                groups[name] = Shareable(rf"cell_({within})/{place}", len(members))
    return {name: group for name, group in groups.items() if group.layers > 1}


FAMILIES = (
    Family(
        rf"(?P<name>{'|'.join(GENOTYPES)})(?:-(?P<cells>\d+)x(?P<channels>[1-9]\d*))?",
        architecture,
        examples=tuple(GENOTYPES),
    ),
)
