"""Reports as one HTML file, and tables as Markdown, CSV and LaTeX.

Input: a Report, which holds texts, tables, figures and packed volumes. Output: an HTML
file that any browser opens without a network.
"""
