"""The processes of a job: how they find each other, agree and part."""
