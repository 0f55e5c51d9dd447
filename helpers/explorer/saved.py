"""What a cell's output stores of a live widget, for readers without a kernel."""

import html

from IPython.display import HTML, display

__all__ = ["show"]

WIDGET = "application/vnd.jupyter.widget-view+json"
# An output has three parts: the current picture, the live widget, and the picture in
# words. A front end without a kernel shows the first and the last. In JupyterLab and
# Notebook, this style hides the first while the widget is live, and it hides the text
# that appears in place of a widget while there is none.
STYLE = """<style>
.jp-OutputArea-child:has(+ .jp-OutputArea-child .explorer-live),
.jp-OutputArea-child:has(+ .jp-OutputArea-child .explorer-words)
  > .jp-OutputArea-output:not(:has(*)),
.jp-OutputArea:has(.explorer-live) .explorer-hint { display: none }
.explorer-live .jupyter-widgets-disconnected::before { display: none }
.explorer-live.jupyter-widgets-disconnected::before {
  content: "The kernel has ended. Run the cell again to move this picture.";
  order: -1; padding: 0.3em 0.6em; width: fit-content;
  font: inherit; color: inherit; border-left: 0.3em solid #b35900 }
</style>"""


def show(bundle, words):
    """Display a widget of class `explorer-live`, and a picture for when it is gone.

    Args:
        bundle: the data and metadata of the widget and the picture, by type.
        words: what the picture shows, in words.
    """
    data, metadata = bundle
    live = {WIDGET: data[WIDGET]}
    still = {kind: value for kind, value in data.items() if kind != WIDGET}
    display(still, metadata=metadata, raw=True)
    display(live, raw=True)
    display(
        HTML(
            f'{STYLE}<div class="explorer-words">'
            '<p class="explorer-hint">Run this cell to move the picture.</p>'
            '<details><summary style="font-size: 0.85em">This picture in words'
            f"</summary>{html.escape(words)}</details></div>"
        )
    )
