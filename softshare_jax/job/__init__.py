"""The processes of a job: how they join, agree and end."""
