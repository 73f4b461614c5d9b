"""How the backups stand: audits, drills, trends, posture, status. Free of Prefect."""
