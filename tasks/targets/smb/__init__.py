"""A share of a Windows server or a NAS, without mounting it."""
