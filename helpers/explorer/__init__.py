"""A picture that follows its controls, and the controls."""

from helpers.explorer.controls import choice, positions, slider
from helpers.explorer.widget import Explorer

__all__ = ["Explorer", "choice", "positions", "slider"]
