"""The networks of cells by name."""

import re

from softshare_jax.errors import UserError
from softshare_jax.models.cells.genotypes import GENOTYPES, Genotype
from softshare_jax.models.cells.network import CellNetwork, reductions
from softshare_jax.models.cells.operations import kernels
from softshare_jax.models.initializers import uniform_fan_in
from softshare_jax.models.network import Network, Options, Sharing

PATTERN = rf"({'|'.join(GENOTYPES)})(?:-(\d+)x([1-9]\d*))?"
EXAMPLES = tuple(GENOTYPES)
FEWEST = 5


def from_name(match: re.Match[str], sharing: Sharing) -> Network:
    """Returns the network of searched cells that a name asks for.

    ``darts`` has the cells that DARTS found, in the published size, ``darts-8x16`` eight of them with
    16 channels in the first. ``sdarts-2`` shares in each stage the kernels that its normal cells have at the
    same place: two templates for each kernel of each operation. ``sdarts`` has one template per layer.

    Raises:
        UserError: there is such a network, but not with so few cells or so many templates.
    """
    genotype = GENOTYPES[match[1]]
    cells, channels = int(match[2] or genotype.cells), int(match[3] or genotype.channels)
    if cells < FEWEST:
        raise UserError(f"{sharing.name}: a network of cells has {FEWEST} or more, not {cells}")

    def build(options: Options) -> CellNetwork:
        options.refuse_all_but(sharing.name, "aux_loss_weight", "drop_path_rate")
        layers = options.layers(uniform_fan_in)
        return CellNetwork(
            genotype, cells, channels, options.num_classes, layers, bool(options.aux_loss_weight)
        )

    return sharing.network(build, _groups(genotype, cells), (32, 32, 3))


def _groups(genotype: Genotype, cells: int) -> dict[str, tuple[str, int]]:
    """Returns the groups: for each stage the kernels at one place of its normal cells."""
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
                groups[name] = (rf"cell_({within})/{place}", len(members))
    return {name: group for name, group in groups.items() if group[1] > 1}
