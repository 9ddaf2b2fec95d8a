# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The documentation site. Built without network: no references into other sites."""

project = "slipway.mlops"
title = html_title = "slipway.mlops"
copyright = "The slipway authors"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"
myst_heading_anchors = 3
# Pages link to files of the repository, which are not part of the site; roles' pages are made from the same specifications.
suppress_warnings = ["ref.ref", "myst.xref_missing", "misc.highlighting_failure"]

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
