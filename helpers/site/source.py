"""What the site is made of: the notebooks and the README of this repository."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Where the site keeps the notebooks that a reader downloads.
DOWNLOADS = "notebooks"


def notebooks() -> list[Path]:
    """Return the paths of the notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def readme() -> str:
    """Return the README's text."""
    return (ROOT / "README.md").read_text("utf-8")


def download_link(name: str) -> str:
    """Return the address of a notebook, seen from a page."""
    return f"{DOWNLOADS}/{name}.ipynb"


def binder_link(name: str) -> str | None:
    """Return the README's Binder link for a notebook.

    It is None as long as the repository has no address: then the links lead nowhere.
    """
    (link,) = re.findall(rf"^\[binder-{name[:2]}\]: (\S+)$", readme(), re.MULTILINE)
    return None if "/OWNER/REPO/" in link else link
