"""SAP SQL Anywhere, the database of the SOS practice software."""
