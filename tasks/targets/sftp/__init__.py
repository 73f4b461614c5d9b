"""A folder on an SSH server."""
