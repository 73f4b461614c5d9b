"""Every step as a Prefect task, by stage. The bodies are in backup, recovery, keys and health."""
