"""What several kinds of target do the same way."""
