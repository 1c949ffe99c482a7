"""The report of a study: one HTML file that a physicist opens from anywhere.

Goes in: a Study, which holds words, tables, pictures and packed volumes. Comes out: a
file that needs no network.
"""

from mtl_jax.study.report import content, page, viewer

Study = content.Study
Fact = content.Fact
Finding = content.Finding
Table = content.Table
Picture = content.Picture
PatientPage = content.PatientPage
Viewer = viewer.Viewer
pack = viewer.pack
write = page.write
