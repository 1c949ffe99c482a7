"""The comparison of runs: plan, tables, figures and report."""
