"""The way back: find a backup, fetch it, open it, prove it, put it where it is needed. Free of Prefect."""
