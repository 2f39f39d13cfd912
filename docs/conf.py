"""What Sphinx makes of the site: `make site` copies this beside the pages that it gathers."""

import re
from typing import Any

from docutils.nodes import literal_block

from fer_lib.files import ROOT

project, author, copyright = "FER Lab", "", ""
extensions = ["myst_nb", "autoapi.extension", "sphinx.ext.napoleon", "sphinx.ext.githubpages"]
extensions += ["fer_tools.site.mathml"]
html_theme, html_title, html_static_path, html_css_files = "furo", "FER Lab", ["static"], ["site.css"]
html_extra_path, html_favicon = ["../extra"], "static/icon.svg"
html_show_copyright = html_show_sphinx = html_copy_source = html_show_sourcelink = False
html_use_index = html_domain_indices = False
html_math_renderer = "mathml"
default_role = "py:obj"  # `module.name` in a docstring leads there

# Outputs are those of the committed run. Widgets would ask another host for their scripts.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("*", "application/vnd.jupyter.widget-view+json", None)]
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

# Types of parameters are sentences: as references they would lead to whatever has that name.
napoleon_use_param = napoleon_use_rtype = False
napoleon_use_ivar = True
# Constants have no docstrings, and some names are those of two things.
suppress_warnings = ["autoapi.python_import_resolution", "ref.python"]

# The code is read, not imported.
autoapi_dirs = [str(ROOT / name) for name in ("fer_lib", "fer_tools")]
autoapi_root = "api"
autoapi_add_toctree_entry = False
autoapi_options = ["members"]
autoapi_own_page_level = "module"
autoapi_python_class_content = "class"


def setup(app: Any) -> None:
    """Register with Sphinx what is set page by page."""
    app.connect("html-page-context", fold, priority=100)  # before the theme
    app.connect("doctree-resolved", mark_columns)


def mark_columns(app: Any, page: Any, name: str) -> None:
    """Mark text that stands in columns: broken into lines it could not be read."""
    for block in page.findall(literal_block):
        if re.search(r"\S {3,}\S", block.astext()):
            block["classes"].append("columns")


def fold(app: Any, name: str, template: str, context: dict[str, Any], page: Any) -> None:
    """Let the contents beside a page unfold its own branch alone: two hundred modules weigh on every page."""
    whole = context["toctree"]
    context["toctree"] = lambda **options: whole(**options | {"collapse": True})
