"""How Sphinx builds the pages: ``make docs``."""

import os

from sphinx.util.docutils import SphinxDirective

import softshare_jax
from softshare_jax.config import reference

# The example runs on a CPU everywhere, so that the page is the same.
os.environ["JAX_PLATFORMS"] = "cpu"

project = "softshare_jax"
release = softshare_jax.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.programoutput",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
html_theme = "furo"
html_title = f"softshare_jax {release}"
html_show_copyright = False
myst_enable_extensions = ["colon_fence"]
# Pages link to headings of each other.
myst_heading_anchors = 3
# Prompts and outputs are not copied.
copybutton_exclude = ".linenos, .gp, .go"

# The scripts are executed again when they change.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
}

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# Fields are described in their class's docstring.
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True


class ConfigReference(SphinxDirective):
    """Writes the table of all config fields."""

    def run(self):
        """Returns the nodes of the table."""
        return self.parse_text_to_nodes(reference.as_markdown())


def setup(app):
    """Adds the directive; omits fields of named tuples, whose docstrings say "Alias for field number 0"."""
    app.add_directive("config-reference", ConfigReference)
    app.connect(
        "autodoc-skip-member",
        lambda app, what, name, value, skip, options: skip or type(value).__name__ == "_tuplegetter",
    )
