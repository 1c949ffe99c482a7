"""Which part of the body a CT shows, after DICOM's BodyPartExamined.

Goes in: a code, or whatever a scanner's operator typed. Comes out: regions in our own
words, so that no foreign text is ever shown.
"""

HEAD, CHEST, ABDOMEN, PELVIS = "head and neck", "chest", "abdomen", "pelvis"
LIMBS = "limbs"

# Of our own sites; of a site file it is not known.
_SITES = {"openkbp": HEAD, "prostate": PELVIS}

# PS3.16 annex L and what scanners write besides, without spaces and signs.
_CODES = {
    (HEAD,): """
        HEAD NECK HEADNECK HEADANDNECK BRAIN SKULL FACE JAW MANDIBLE MAXILLA ORBIT EYE
        EAR SINUS TONGUE PHARYNX LARYNX THYROID PAROTID CSPINE CERVICALSPINE""",
    (CHEST,): "CHEST THORAX LUNG BREAST HEART MEDIASTINUM TSPINE THORACICSPINE",
    (ABDOMEN,): "ABDOMEN LIVER KIDNEY PANCREAS STOMACH SPLEEN LSPINE LUMBARSPINE",
    (PELVIS,): "PELVIS PROSTATE BLADDER RECTUM UTERUS CERVIX HIP SSPINE SACRUM",
    (LIMBS,): "EXTREMITY ARM HAND ELBOW WRIST LEG KNEE FOOT ANKLE CALF",
    (HEAD, CHEST): "NECKCHEST HEADNECKCHEST CTSPINE",
    (CHEST, ABDOMEN): "CHESTABDOMEN CHESTABD TLSPINE",
    (ABDOMEN, PELVIS): "ABDOMENPELVIS ABDPELVIS LSSPINE",
    (CHEST, ABDOMEN, PELVIS): "CHESTABDPELV CHESTABDPELVIS CHESTABDOMENPELVIS TRUNK",
    (HEAD, CHEST, ABDOMEN): "NECKCHESTABDOMEN",
    (HEAD, CHEST, ABDOMEN, PELVIS): "WHOLEBODY NECKCHESTABDPELV SPINE",
}
_REGIONS = {code: found for found, codes in _CODES.items() for code in codes.split()}


def of_site(name: str) -> str | None:
    """The region that a site of ours is in; None of any other site."""
    return _SITES.get(name)


def regions(body_part: str) -> tuple[str, ...]:
    """The regions that a BodyPartExamined names; () where it is empty or not known."""
    code = "".join(filter(str.isalnum, body_part.upper()))
    return _REGIONS.get(code, ())
