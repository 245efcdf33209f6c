"""The record of what the images of a run are: ``data.json`` in its workdir."""

import logging
from typing import Any

from softshare_jax.data.identity import DataSet
from softshare_jax.errors import UserError
from softshare_jax.runs.workdir import Workdir

log = logging.getLogger(__name__)


def write(workdir: Workdir, data_set: DataSet) -> None:
    """Records a data set, unless it is recorded already; warns if the run began with other images.

    Raises:
        UserError: the record cannot be read.
    """
    recorded = read(workdir)
    if data_set in recorded:
        return
    if data_set.digest not in {one.digest for one in recorded} and recorded:
        log.warning("%s: these are not the images that this run began with", workdir.root)
    values = [one._asdict() for one in (*recorded, data_set)]
    workdir.write_sealed(workdir.data_file, {"data_sets": values})


def read(workdir: Workdir) -> tuple[DataSet, ...]:
    """Returns the data sets that a run used, in order; none if it did not record any.

    Raises:
        UserError: the record is damaged, or not of this kind.
    """
    if not workdir.data_file.exists():
        return ()
    values = workdir.read_sealed(workdir.data_file).get("data_sets")
    if not isinstance(values, list) or not all(map(_fits, values)):
        raise UserError(f"{workdir.data_file} is not a record of data sets")
    return tuple(DataSet(**one) for one in values)


def _fits(one: Any) -> bool:
    types = {name: type(value) for name, value in one.items()} if isinstance(one, dict) else {}
    return types == DataSet.__annotations__
