"""Fault injection: what runs and files survive, as a suite of its own (docs/reliability.md).

- strikes.py: runs that are killed, stopped, out of disk and damaged on their way, in one process and in two
- power.py: power loss, on an ext4 file system of which the unwritten part is dropped
- calls.py: every n-th call to the file system fails; limits of open files and memory
- malformed.py: damaged files of workdirs and exports, read by every command
- beside.py: two commands at one run or one output, and readers of a run that goes on
"""
