"""A node as its users see it: senders, an archive, kills."""

import pydicom

from tests.node import running


def study_of(patient):
    return str(pydicom.dcmread(running.ct_files(patient)[0]).StudyInstanceUID)


def test_a_series_comes_back_as_structures_and_dose(node, archive, patients):
    running_node = node(archive.flag)
    assert running.connect(running_node.port).send_c_echo().Status == 0
    paths = running.ct_files(patients[0])
    assert set(running.send(running_node.port, paths)) == {0}
    running.wait_for(lambda: running_node.series("done") == 1, "the results")
    assert archive.of_study(study_of(patients[0])) == ["RTDOSE", "RTSTRUCT"]
    assert set(archive.counts.values()) == {1}
    print(running_node.log.read_text())
    print(running_node.get("/").decode())
    print(running_node.get("/metrics").decode())
    assert running_node.stop() == 75
