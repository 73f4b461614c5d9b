"""A folder on a network drive or another disk."""
