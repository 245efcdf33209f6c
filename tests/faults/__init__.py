"""Fault injection: a separate suite that checks which faults runs and files survive (docs/reliability.md).

- strikes.py: runs that are killed, stopped, out of disk space or damaged, in one process and in two
- power.py: power loss, on an ext4 file system that loses its unwritten data
- calls.py: every n-th call to the file system fails; limits on open files and memory
- malformed.py: damaged files of workdirs and exports, read by every command
- beside.py: two commands on one run or one output, and readers of a live run
"""
