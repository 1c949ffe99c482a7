"""Beside Orthanc, an archive that nobody of this project wrote (Debian: `orthanc`)."""

import json
import shutil
import subprocess
import urllib.request

import pytest

from tests.node import running

ORTHANC = shutil.which("Orthanc")


class Orthanc:
    """Orthanc with an empty archive, that knows the node."""

    def __init__(self, home, node_port):
        self.dicom, self.web = running.free_port(), running.free_port()
        settings = {
            "StorageDirectory": str(home / "archive"),
            "IndexDirectory": str(home / "archive"),
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom,
            "HttpPort": self.web,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            "DicomModalities": {"node": ["MTL_JAX", "127.0.0.1", node_port]},
        }
        path = home / "orthanc.json"
        path.write_text(json.dumps(settings))
        self.log = (home / "orthanc.log").open("wb")
        self.process = subprocess.Popen(
            [ORTHANC, str(path)], stdout=self.log, stderr=self.log
        )
        running.wait_for(lambda: self.ask("/system"), "Orthanc")

    def ask(self, path, content=None):
        """The answer of its web interface; with `content`, to a POST."""
        url = f"http://127.0.0.1:{self.web}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, content)) as answer:
            return json.load(answer)

    def modalities(self):
        series = self.ask("/series?expand")
        return sorted(each["MainDicomTags"]["Modality"] for each in series)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()


@pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed")
def test_a_series_in_orthanc_gets_structures_and_dose(node, patients, tmp_path):
    """Orthanc sends; it says how many images there are; it gets the results."""
    node_port = running.free_port()
    orthanc = Orthanc(tmp_path, node_port)
    try:
        place = f"127.0.0.1:{orthanc.dicom}"
        here = node(
            f"--port={node_port}",
            f"--allow=ORTHANC@{place}",
            f"--send_to={place},ORTHANC",
            "--quiet_s=900",  # so it is C-FIND's answer that ends the waiting
            "--incomplete_s=1000",
        )
        for path in running.ct_files(patients[0]):
            orthanc.ask("/instances", path.read_bytes())
        (series,) = orthanc.ask("/series")
        orthanc.ask("/modalities/node/store", json.dumps(series).encode())
        running.wait_for(
            lambda: orthanc.modalities() == ["CT", "RTDOSE", "RTSTRUCT"], "the results"
        )
        (study,) = orthanc.ask("/studies?expand")  # all in the study of the CT
        assert len(study["Series"]) == 3
        running.wait_for(lambda: here.series("done") == 1, "the end")
        assert here.figure("sent_total") == 2
    finally:
        orthanc.stop()
