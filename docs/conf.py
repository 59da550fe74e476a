"""How the pages are built: MyST and one notebook that is run, and the API from docstrings, by `modules` beside this file."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "jaxl2o"
version = release = version_of(project)
author = copyright = "The jaxl2o authors"

extensions = ["myst_nb", "sphinx.ext.autodoc", "modules"]
html_theme = "furo"
html_title = f"jaxl2o {version}"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["jaxl2o.css"]

myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "error"

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
add_module_names = False
python_use_unqualified_type_names = True
smartquotes = False
toc_object_entries_show_parents = "hide"
