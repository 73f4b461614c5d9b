"""What runs the schedules: a Prefect server, the process that runs a plan's flows, what watches over both."""
