"""Plain folders."""
