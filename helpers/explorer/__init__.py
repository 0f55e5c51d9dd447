"""Figures that you move with controls or the pointer, and a pad to draw a digit on."""

from helpers.explorer.controls import choice, positions, slider
from helpers.explorer.pad import Pad
from helpers.explorer.widget import Explorer

__all__ = ["Explorer", "Pad", "choice", "positions", "slider"]
