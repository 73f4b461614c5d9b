"""Restore in place: the proven copy takes the place of the live data, which is put aside."""
