"""Sphinx's settings for the site."""

from pathlib import Path

from helpers.site import source

HERE = Path(__file__).parent

project = "The road from MLE to EM to VAE"
html_title = project
language = "en"
extensions = ["myst_nb"]
templates_path = [str(HERE / "templates")]

# The notebooks were executed before. What fails must be seen, in stderr too.
nb_execution_mode = "off"
nb_output_stderr = "error"
myst_enable_extensions = ["dollarmath"]
# Headings between a notebook's sections may skip a level.
suppress_warnings = ["myst.header"]

# MathJax lies in the static folder, and is configured by a file of ours.
myst_update_mathjax = False
mathjax_path = "mathjax/tex-svg.js"

html_theme = "sphinx_book_theme"
html_static_path = [str(HERE / "static")]
html_favicon = str(HERE / "static/icon.svg")
html_css_files = ["icons.css", "page.css"]
html_js_files = [
    ("mathjax-config.js", {"priority": 400}),
    ("page.js", {"defer": "defer"}),
    ("player.js", {"defer": "defer"}),
]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    # The search has its place in the sidebar, and on a narrow page in the header.
    "navbar_persistent": [],
    "primary_sidebar_end": [],
    "toc_title": "On this page",
    "footer_content_items": "extra-footer.html",
    "extra_footer": "<p>The code is under the BSD 3-Clause licence. The slides belong "
    "to their author and are not included. Formulas are set by MathJax, under the "
    '<a href="_static/mathjax/LICENSE">Apache licence 2.0</a>.</p>',
}
NAMES = [path.stem for path in source.notebooks()]
html_context = {
    # without it the theme writes an error into the console
    "default_mode": "auto",
    # for article-header-buttons.html
    "notebooks": {name: source.download_link(name) for name in NAMES},
    "binder": {name: link for name in NAMES if (link := source.binder_link(name))},
}


def setup(app):
    """Find the player, which the build writes, and give myst-nb's folds one label."""
    app.config.html_static_path.append(str(app.srcdir / "static"))

    from html import escape

    from myst_nb.sphinx_ import HideCodeCellNode

    def visit(writer, node):
        label = escape(node["prompt_show"])
        writer.body.append(f'<details class="fold"><summary>{label}</summary>\n')

    def depart(writer, node):
        writer.body.append("</details>\n")

    app.add_node(HideCodeCellNode, override=True, html=(visit, depart))
