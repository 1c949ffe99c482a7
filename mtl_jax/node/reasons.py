"""Why something is refused: the names that figures and pages use, and DICOM's statuses.

Input: none. Output: a `Refused` for what is refused, with one of the names below.
"""

# What was sent is answered with this status of C-STORE (PS3.4 B.2.3).
OUT_OF_RESOURCES, NO_MATCH, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000
# A sender that is on the list with another address (PS3.7 C.5.12).
NOT_AUTHORISED = 0x0124
OBJECTS = {
    "disk_full": OUT_OF_RESOURCES,
    "queue_full": OUT_OF_RESOURCES,
    "too_many_objects": OUT_OF_RESOURCES,
    "not_a_ct": NO_MATCH,
    "malformed": NOT_UNDERSTOOD,
    "conflict": 0xC001,  # another object was received under this UID
    "late": 0xC002,  # its series is predicted already
}
# Connections and associations: refused or closed.
CONNECTIONS = ("address", "ae_title", "busy", "too_large", "too_slow")
# Series: what a page says of one that was refused, beside the reader's own sentences.
SERIES = {
    "incomplete": "not all images arrived: send the series again",
    "reader": "",  # the reader's sentence
    "attempts": "the node ended, or could not write, several times while predicting it",
    "undelivered": "the archive did not take the results in time",
}
NAMES = (*OBJECTS, *CONNECTIONS, *SERIES)


class Refused(Exception):
    """An object or a series that is refused; `reason` is one of NAMES."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
