"""What this office did and saw: one signed line after the other, each with the sha256 of the one before."""
