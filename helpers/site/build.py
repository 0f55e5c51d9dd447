"""Run the notebooks, build the site with Sphinx, and post-process its pages."""

import base64
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.site import index, pages, source, states

__all__ = ["SiteError", "site"]

HERE = Path(__file__).parent
# One kernel for each of two cores.
AT_ONCE = 2
# GitHub would leave out the folders whose names start with _ without this file. It also
# tells a folder that was built here from one with other things in it.
MARK = ".nojekyll"
INSTALL = f"{sys.executable} -m pip install -r helpers/site/requirements.txt"

# No other host is asked for anything. Styles may stand in attributes, where MathJax and
# the notebooks' tables have them; a script must be a file, or one of the theme's own,
# which is named by its digest.
POLICY = (
    "default-src 'none'; script-src 'self' {digests}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'"
)
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
CHARSET = '<meta charset="utf-8" />'
# 1.6 MB that draw a dozen icons, which icons.css draws in 4 kB.
ICONS = re.compile(r"\s*<script defer src=\"[^\"]*fontawesome\.js[^\"]*\"></script>")


class SiteError(ValueError):
    """The site cannot be built, and why."""


def site(
    out: Path, *, stored: bool = False, progress: Callable[[str], None] = print
) -> None:
    """Build the site.

    Args:
        out: the output folder: a new or empty one, or one that an earlier build made,
            which is replaced.
        stored: take the outputs that are stored in the notebooks, and run nothing.
        progress: called with a line at a time.

    Raises:
        SiteError: `out` is a file or holds other things, Sphinx is not installed, a
            cell of a notebook fails, or Sphinx warns of something.
    """
    check_out(out)
    check_sphinx()
    start = time.monotonic()

    def tell(line):
        progress(f"{time.monotonic() - start:4.0f} s  {line}")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packs, pictures = folder / "packs", folder / "figures"
        packs.mkdir()
        notebooks = read() if stored else run(packs, tell)
        tell("building the pages")
        write_pages(notebooks, folder / "source", pictures)
        call_sphinx(folder / "source", folder / "site")
        finish(folder / "site", packs, pictures)
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out)
        shutil.copytree(folder / "site", out)
    tell(f"built: {out / 'index.html'}")


def check_out(out):
    if out.exists() and not out.is_dir():
        raise SiteError(f"OUT: got the file {out}, expected a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).exists():
        raise SiteError(
            f"OUT: the folder {out} holds other things, expected a new folder, an "
            "empty one or one of an earlier build"
        )


def check_sphinx():
    names = ("sphinx", "myst_nb", "sphinx_book_theme")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SiteError(
            f"Not installed: {', '.join(missing)}. Run this in the repository's "
            f"folder, then try again: {INSTALL}"
        )


def read():
    """Return the notebooks as they are stored, by name."""
    return {path.stem: nbformat.read(path, 4) for path in source.notebooks()}


def run(packs: Path, tell: Callable[[str], None]) -> dict[str, NotebookNode]:
    """Return the notebooks executed, by name; the packs go into a folder."""

    def execute(path):
        tell(f"{path.stem}: running")
        link = pages.run_link(path.stem)
        notebook = states.run(path, packs, progress=tell, run_link=link)
        tell(f"{path.stem}: done")
        return notebook

    paths = source.notebooks()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The last ones take longest, so they start first.
        running = {path.stem: pool.submit(execute, path) for path in reversed(paths)}
        try:
            return {path.stem: running[path.stem].result() for path in paths}
        except states.NotebookError as error:
            pool.shutdown(cancel_futures=True)
            raise SiteError(str(error)) from error


def write_pages(notebooks, folder, pictures):
    """Write what Sphinx reads."""
    folder.mkdir()
    pictures.mkdir()
    for name, notebook in notebooks.items():
        nbformat.write(pages.page(notebook, name, pictures), folder / f"{name}.ipynb")
    (folder / "index.md").write_text(index.index(notebooks), "utf-8")
    shutil.copy(source.ROOT / ".github/notebook.png", folder)
    (folder / "static").mkdir()
    (folder / "static/player.js").write_text(states.player(), "utf-8")


def call_sphinx(folder, out):
    """Build the pages; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "-W", "--keep-going"]
    command += ["-b", "html", "-c", HERE, "-d", folder.parent / "doctrees", folder, out]
    built = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if built.returncode:
        raise SiteError(f"Sphinx could not build the pages:\n{built.stderr.strip()}")


def finish(folder, packs, pictures):
    """Copy packs, pictures and notebooks into the site; remove unused files."""
    shutil.copytree(pictures, folder / pictures.name)
    shutil.copytree(packs, folder / "_static" / packs.name)  # beside player.js
    downloads = folder / source.DOWNLOADS
    downloads.mkdir()
    for path in source.notebooks():
        shutil.copy(path, downloads)
    for page in folder.glob("*.html"):
        text = ICONS.sub("", page.read_text("utf-8"))
        page.write_text(with_policy(text), "utf-8")
    for unused in (folder / "_static/scripts").glob("fontawesome.js*"):
        unused.unlink()
    for unused in (folder / "_static").rglob("*.map"):
        unused.unlink()
    (folder / MARK).touch()


def with_policy(text):
    """Return a page with its content security policy."""
    scripts = INLINE_SCRIPT.findall(text)
    policy = POLICY.format(digests=" ".join(dict.fromkeys(map(digest, scripts))))
    head, charset, rest = text.partition(CHARSET)
    if not charset:
        raise SiteError(f"A page has no {CHARSET}, before which nothing may be loaded")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return f"{head}{charset}\n    {meta}{rest}"


def digest(script):
    """Return what names an inline script in a policy."""
    code = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{code}'"
