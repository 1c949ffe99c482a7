"""The command on generated patients, and a study, as tests/study has them."""

from tests.study import conftest

command = conftest.command
study = conftest.study
