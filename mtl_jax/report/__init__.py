"""The report of a study: one HTML file that a physicist opens from anywhere.

Goes in: a Study, which holds words, tables, pictures and packed volumes. Comes out: a
file that needs no network.
"""
