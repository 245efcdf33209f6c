"""For people with a model and a training loop of their own: a report, a certificate and an export.

None of it needs a config, a workdir or a task of this package. ``History`` records what a loop trains,
``report_of`` makes the page of it, ``certify`` measures a fold, and ``export`` writes a network that runs
without its code.
"""

from softshare_jax.library.certificate import certify
from softshare_jax.library.exporting import export
from softshare_jax.library.history import History
from softshare_jax.library.report import Report, report_of

__all__ = ["History", "Report", "certify", "export", "report_of"]
