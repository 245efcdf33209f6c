"""The report as one HTML file that needs nothing else."""

from collections.abc import Sequence

import jinja2

from softshare_jax.reporting import published
from softshare_jax.reporting.comparison import Comparison
from softshare_jax.reporting.section import Section


def render(sections: Sequence[Section], comparison: Comparison | None, version: str) -> str:
    """Returns the page: a summary and a comparison where there are several sections, then each of them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("softshare_jax", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = list(dict.fromkeys(name for section in sections for name in section.summary))
    return environment.get_template("page.html.j2").render(
        sections=sections, comparison=comparison, source=published.SOURCE, columns=columns, version=version
    )
