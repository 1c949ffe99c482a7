"""What worker processes do in tests; light to import."""

import os
import signal


def die(*_: object) -> None:
    """As the kernel's out-of-memory killer has it."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(number: int) -> int:
    """Get the Ctrl-C that a terminal sends to all processes of a command."""
    os.kill(os.getpid(), signal.SIGINT)
    return number
