"""The set-up as a whole: what is up to date is left alone, two at once wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from local_host.setup import emulator
from local_host.setup.environment import Environment, main_environment, require_venv_module
from local_host.setup.locks import locked
from local_host.setup.messages import SetupError, note
from local_host.setup.places import CHECKOUT, Checkout


def prepare(checkout: Checkout = CHECKOUT) -> None:
    """Make the environment and the emulator, where they are not up to date.

    Raises SetupError with what to mend.
    """
    if is_prepared(checkout):
        return
    require_venv_module()
    with alone_in(checkout):
        make(main_environment(checkout), "pip")
        if not emulator.is_current(checkout):
            emulator.install_emulator(checkout)


def is_prepared(checkout: Checkout = CHECKOUT) -> bool:
    """Whether everything is up to date."""
    return main_environment(checkout).is_current() and emulator.is_current(checkout)


def make(environment: Environment, log: str) -> None:
    """Make one environment, where it is not up to date. `log` names its log file."""
    if not environment.is_current():
        environment.make(log)


@contextmanager
def alone_in(checkout: Checkout) -> Iterator[None]:
    """Nobody else changes what is installed in the checkout during the block.

    Raises SetupError where something cannot be written.
    """
    try:
        with locked(
            checkout.local / "setup.lock",
            patience=None,
            on_wait=lambda: note("Another set-up of this checkout is running: waiting for it ..."),
            refusal="",
        ):
            yield
    except OSError as error:
        where = error.filename or checkout.root
        raise SetupError(f"The set-up cannot write {where}: {error.strerror}.") from error
