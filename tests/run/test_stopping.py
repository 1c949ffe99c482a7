"""Signals: noted while training, raised elsewhere, and never lost."""

import errno
import os
import signal
import time
from concurrent import futures

import pytest

from mtl_jax.core import errors
from mtl_jax.run import command, stopping

BOTH = [signal.SIGTERM, signal.SIGINT]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_ends_what_has_nothing_to_save(number):
    usual = signal.getsignal(number)
    with pytest.raises(stopping.Stopped, match=number.name), stopping.raise_on_signal():
        send(number)
        pytest.fail("went on")
    assert signal.getsignal(number) == usual


@pytest.mark.parametrize("number", BOTH)
def test_training_is_asked_and_the_signal_raised_after_it(number):
    seen = []
    with (
        pytest.raises(stopping.Stopped, match=number.name),
        stopping.raise_on_signal(),
        stopping.defer_signals() as asked,
    ):
        seen.append(asked())
        send(number)
        seen.append(asked())
    assert seen == [False, True]


def test_sigterm_may_come_twice_but_a_second_ctrl_c_ends_training():
    with pytest.raises(stopping.Stopped), stopping.defer_signals() as asked:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert asked()
    with pytest.raises(KeyboardInterrupt), stopping.defer_signals() as asked:
        send(signal.SIGINT)
        send(signal.SIGINT)


def test_in_another_thread_no_signal_is_waited_for():
    usual = signal.getsignal(signal.SIGTERM)

    def train():
        with stopping.defer_signals() as asked:
            return asked(), signal.getsignal(signal.SIGTERM)

    with futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(train).result() == (False, usual)


def test_after_training_signals_are_raised_again():
    with pytest.raises(stopping.Stopped), stopping.raise_on_signal():
        with stopping.defer_signals() as asked:
            assert not asked()
        send(signal.SIGTERM)


class Destructor:
    """Sends itself a signal when it goes: what is raised then is ignored by Python."""

    def __del__(self):
        send(signal.SIGTERM)


def test_a_signal_that_comes_where_nothing_can_be_raised_is_not_lost():
    began = time.monotonic()
    with pytest.raises(stopping.Stopped, match="SIGTERM"), stopping.raise_on_signal():
        thing = Destructor()
        del thing
        while time.monotonic() < began + 30:
            time.sleep(0.001)
    assert time.monotonic() < began + 20


def raising(error):
    def run():
        raise error

    return run


def test_the_status_says_how_it_ended(capsys):
    def stopped():
        send(signal.SIGTERM)

    assert command.status_of(lambda: 0) == 0
    assert command.status_of(stopped) == 75
    assert command.status_of(raising(errors.ConfigError("no such key"))) == 1
    assert capsys.readouterr().err == "error: no such key\n"
    command.status_of(raising(errors.SourceError("pt_\x1b[2J\x07\rü is odd:\nlook")))
    assert capsys.readouterr().err == "error: pt_\\x1b[2J\\x07\\rü is odd:\nlook\n"
    full = OSError(errno.ENOSPC, "No space left on device", "some/file")
    assert command.status_of(raising(full)) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: [Errno 28] No space left on device: 'some/file': ")
    assert said.count("\n") == 1
    with pytest.raises(FileNotFoundError):  # a mistake of ours keeps its traceback
        command.status_of(raising(FileNotFoundError(errno.ENOENT, "", "x")))
