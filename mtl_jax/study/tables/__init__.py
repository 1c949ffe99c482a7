"""The tables of a study, from evaluation rows to render.Tables."""
