"""The tables of a study: numbers gathered, tables as data, and their files."""
