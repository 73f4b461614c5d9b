"""The holders' keys: read, kept on paper and in shares, proven, exchanged. Free of Prefect."""
