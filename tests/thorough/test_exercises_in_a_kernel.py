"""The kernel survives whatever an answer does; only a real kernel can show this."""

import nbformat
from nbclient import NotebookClient

ANSWER = """
def shared_variance(x):
    {line}
    return x.var(axis=0).mean()


check("shared_variance", shared_variance)
"""

LINES = {
    "exit()": "SystemExit: exit() would end the kernel",
    "quit()": "SystemExit: exit() would end the kernel",
    "exit(True)": "SystemExit: exit() would end the kernel",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "input()": "StdinNotImplementedError",
    "import jax; jax.config.update('jax_enable_x64', False)": "jax_enable_x64 was",
}


def shown(cell):
    return "".join(o.get("text") or o.data["text/plain"] for o in cell.outputs)


def test_the_kernel_survives_every_way_to_leave():
    sources = ["from helpers import course", "course.start()"]
    sources += ["from helpers.exercises import check, progress"]
    for line in LINES:
        sources += [ANSWER.format(line=line), "import time; time.sleep(0.5)"]
    sources += [
        ANSWER.format(line="print('from the answer')"),
        "import jax.numpy as jnp; print(jnp.ones(1).dtype, 'as before')",
        # a reader's own exit() is IPython's again
        "print(get_ipython().ask_exit.__func__.__qualname__.partition('.')[0], "
        "get_ipython().exit_now)",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120).execute()
    verdicts = [shown(c) for c in notebook.cells if "check(" in c.source]
    for verdict, words in zip(verdicts, LINES.values(), strict=False):
        assert verdict.startswith("✗ shared_variance: wrong")
        assert words in verdict
    assert verdicts[-1].startswith("✓ shared_variance: right")
    assert "printed: from the answer" in verdicts[-1]
    assert shown(notebook.cells[-2]) == "float64 as before\n"
    assert shown(notebook.cells[-1]) == "ZMQInteractiveShell False\n"
