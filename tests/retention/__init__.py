"""Retention over real folders, night after night, held to a model written from the promises alone."""
