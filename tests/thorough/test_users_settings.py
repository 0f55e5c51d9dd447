"""What a user has set up: the folder of caches, and a style of figures."""

import json
import os
import subprocess
import sys

import matplotlib
import pytest
from test_programs_kept import without_settings


@pytest.mark.skipif(sys.platform != "linux", reason="others have folders of their own")
@pytest.mark.parametrize("given", [True, False])
def test_the_folder_is_where_the_user_keeps_caches(tmp_path, given):
    code = "import jax; from helpers import course; course.start()"
    code += "; print(jax.config.jax_compilation_cache_dir)"
    environment = without_settings(HOME=tmp_path, PYTHONDONTWRITEBYTECODE=1)
    # Matplotlib would make a list of all fonts for a new user, which takes long.
    environment["MPLCONFIGDIR"] = matplotlib.get_configdir()
    environment.pop("XDG_CACHE_HOME", None)
    if given:
        environment["XDG_CACHE_HOME"] = str(tmp_path / "elsewhere")
    expected = tmp_path / ("elsewhere" if given else ".cache")
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert run.stdout.startswith(f"{expected / 'mle-em-vae-companion'}{os.sep}jaxlib-")


# The styles that turned digits upside down, hid titles and made cells fail.
MATPLOTLIBRC = """
backend: svg
image.origin: lower
text.usetex: True
text.color: white
axes.facecolor: black
axes.labelcolor: white
axes.prop_cycle: cycler("color", ["w", "y"])
figure.facecolor: black
figure.figsize: 1, 1
font.size: 5
lines.linestyle: --
savefig.facecolor: black
savefig.format: pdf
xtick.color: white
"""
SETTINGS = """
import json
import matplotlib
from helpers import plotting

before = dict(matplotlib.rcParams)
plotting.use_course_style()
after = dict(matplotlib.rcParams)
print(json.dumps([{k: str(each[k]) for k in each} for each in (before, after)]))
"""


def test_whatever_the_users_matplotlibrc_says_only_the_backend_stays(tmp_path):
    def settings(text):
        """Return those of a Python with this matplotlibrc, before and after."""
        path = tmp_path / "matplotlibrc"
        path.write_text(text)
        environment = {**os.environ, "MATPLOTLIBRC": str(path)}
        environment.pop("MPLBACKEND", None)
        command = [sys.executable, "-c", SETTINGS]
        return json.loads(subprocess.check_output(command, text=True, env=environment))

    _, usual = settings("backend: agg\n")
    before, after = settings(MATPLOTLIBRC)
    assert before["image.origin"] == "lower"  # it was read
    assert before["text.usetex"] == "True"
    assert after.pop("backend") == "svg"
    assert usual.pop("backend") == "agg"
    assert after == usual
    assert after["image.origin"] == "upper"
