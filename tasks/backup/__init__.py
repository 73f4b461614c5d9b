"""From the running database to proven copies on every target. Plain functions, free of Prefect."""
