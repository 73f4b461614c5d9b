"""Removable media that take turns."""
