"""How the docs are built: `make docs`, offline, warnings being errors."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import imprior

project = "imprior"
author = "the imprior maintainers"
copyright = "the imprior maintainers, Apache-2.0"
version = release = imprior.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings", "directives", "mathml"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "cli"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
nitpicky = False
# Short type names in signatures (Table, shape) mean several classes; which one, the signature's module says.
suppress_warnings = ["ref.python"]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"imprior {release}"
html_static_path = ["_static"]
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_display_short_literal_types = True
