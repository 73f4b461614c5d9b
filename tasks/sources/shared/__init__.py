"""What several engines do the same way."""
