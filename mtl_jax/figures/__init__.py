"""Pictures of runs and of studies: PNG files from arrays and rows.

The only package that uses matplotlib, and never its global state.
"""
