"""How flows get run: the command line (cli), the served schedules and the fleet (serving)."""
