"""The comparison: runs, their evaluation, yardsticks, tables and figures."""
