"""Engines that can be copied while they are in use, all behind one seam (README.md)."""
