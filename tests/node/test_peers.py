"""Who may send: AE titles and addresses."""

import pytest

from mtl_jax.node import peers


@pytest.mark.parametrize(
    ("text", "title", "address", "found"),
    [
        ("CT1@10.1.2.3", "CT1", "10.1.2.3", True),
        ("CT1@10.1.2.3", "CT2", "10.1.2.3", False),
        ("CT1@10.1.2.3", "CT1", "10.1.2.4", False),
        ("CT1@10.1.2.0/24", "CT1", "10.1.2.4", True),
        ("CT1@10.1.2.3", "CT1", "::ffff:10.1.2.3", True),
        ("*@127.0.0.1", "ANYTHING", "127.0.0.1", True),
        ("A B@[fd00::7]:104", "A B", "fd00::7", True),
        ("CT1@10.1.2.3", "CT1", "fd00::7", False),
    ],
)
def test_a_sender_needs_its_title_and_its_address(text, title, address, found):
    sender = peers.parse_sender(text)
    assert (peers.find([sender], title, address) is sender) is found


def test_the_port_is_where_it_answers_questions():
    assert peers.parse_sender("CT1@10.1.2.3").find_port is None
    assert peers.parse_sender("CT1@10.1.2.3:104").find_port == 104
    assert peers.parse_sender("CT1@[fd00::7]:104").find_port == 104


@pytest.mark.parametrize(
    "text",
    ["CT1", "@10.1.2.3", "CT1@host", "CT1@10.1.2.3:0", "CT1@10.1.2.3:99999",
     "*@10.1.2.3", "A_TITLE_THAT_IS_TOO_LONG@10.1.2.3", "A\\B@10.1.2.3", " @10.1.2.3",
     "*@0.0.0.0/0"],
)  # fmt: skip
def test_no_sender(text):
    with pytest.raises(ValueError):
        peers.parse_sender(text)


def test_an_archive():
    assert peers.parse_archive("pacs:104,ARCHIVE") == peers.Archive(
        "pacs", 104, "ARCHIVE"
    )
    assert peers.parse_archive("[fd00::7]:104,A").host == "fd00::7"
    for text in ("pacs,ARCHIVE", "pacs:104", "pacs:104,", "pacs:0,A"):
        with pytest.raises(ValueError):
            peers.parse_archive(text)
