"""The table of sites: the paper's rows, and names that cannot be confused."""

import itertools

import pytest

from mtl_jax.core import anatomy, errors, metric_names, sites
from mtl_jax.study import published

ALL = pytest.mark.parametrize("site", sites.SITES.values(), ids=sites.SITES)


def test_the_dose_table_of_the_prostate_is_the_papers():
    site, paper = sites.PROSTATE, published.load().table("prostate", "dvh")
    assert paper is not None
    rows = [
        (site.structure(name).tg263, metric.removeprefix("exact:"))
        for name, metric in site.dose_table
    ]
    assert rows == [(row.structure, row.metric) for row in paper.rows]
    assert len(rows) == 18


def test_the_contours_of_the_prostate_are_the_papers():
    paper = published.load().table("prostate", "dice")
    assert paper is not None
    dice = [row.structure for row in paper.rows if row.metric == "dice"]
    assert dice == list(sites.PROSTATE.contoured) and len(dice) == 5


def test_the_prostates_numbers():
    site = sites.get("prostate")
    assert (site.prescription_gy, site.ct_offset_hu) == (60.0, 0.0)
    targets = {s.name: s.target_gy for s in site.structures if s.target_gy}
    assert targets == {"Prostate": 60.0, "PTV_6000": 60.0}
    assert site.mirrored(site.contoured) == [0, 1, 2, 4, 3]
    # More than the largest ball of a femoral head: half of 54 mm across.
    low, _ = site.structure("Femur_L").volume_cc or (0, 0)
    assert low > 4 / 3 * 3.14159 * 2.7**3


@ALL
def test_a_site_holds_together(site):
    assert len(site.structures) <= anatomy.MOST_STRUCTURES
    assert {*site.contoured} <= {*site.names}
    assert len({s.colour for s in site.structures}) == len(site.structures)
    for one in site.structures:
        if one.mirror:
            assert one.tg263 == anatomy.opposite(site.structure(one.mirror).tg263)
            assert site.structure(one.mirror).mirror == one.name
        if one.volume_cc:
            assert 0 < one.volume_cc[0] < one.volume_cc[1]
        for metric in one.dvh:
            assert metric_names.parse(metric, "dvh").dialect in (
                *metric_names.DIALECTS,
                metric_names.TARGET,
            )
    for name, metric in site.dose_table:
        assert metric in site.structure(name).dvh


@ALL
def test_no_name_means_two_structures(site):
    for one, other in itertools.combinations(site.structures, 2):
        assert not one.keys & other.keys


@ALL
def test_a_site_of_ours_is_kept_by_its_name(site):
    assert sites.to_json(site) == site.name
    assert sites.from_json(site.name) is site


def test_an_unknown_site_is_refused():
    with pytest.raises(errors.ConfigError, match=r"mean 'prostate'.*of a file"):
        sites.get("prostat")
