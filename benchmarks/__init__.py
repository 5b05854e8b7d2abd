"""The benchmarks behind docs/performance.md, one file per claim.

`python -m benchmarks` (or `make bench`) runs those in the page's table, and
`python -m benchmarks.NAME --help` describes one. Each measures comodo and a baseline that does the
same work, in the same run.
"""
