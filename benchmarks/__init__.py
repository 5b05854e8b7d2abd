"""Where the performance figures of the README come from, one file for each claim.

`python -m benchmarks` (or `make bench`) runs those of the README's table, and
`python -m benchmarks.NAME --help` tells of one. Each compares with a baseline that does the same
work, in one run.
"""
