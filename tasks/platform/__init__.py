"""Files, child programs and secrets: what every part of the program does the same way."""
