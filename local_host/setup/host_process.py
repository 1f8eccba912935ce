"""The local host as a child process: started, waited for until it answers, stopped."""

from __future__ import annotations

import importlib
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from local_host.setup import processes
from local_host.setup.messages import SetupError, note, say
from local_host.setup.paths import PYTHON, ROOT

_READY = re.compile(r"ready (https?://\S+)\s*")
_PAUSE = 0.1
# What the app imports at its first call. A start that waits for that call imports it earlier.
_LATE_IMPORTS = "functions.late_imports"
_HEALTH_SECONDS = 60.0
# The host lets running functions end before it does.
_STOP_SECONDS = 40.0


class HostProcess:
    """A running local host. `url` is empty until it answers calls."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.url = ""
        self._relay = threading.Thread(target=self._relay_output, name="host output", daemon=True)
        self._relay.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def describe_end(self) -> str:
        """How it ended, for the user."""
        status = self.process.wait()
        ending = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"The gateway's process ended by itself ({ending})."

    def give_settings(self, settings: Mapping[str, str]) -> None:
        """Give it the settings that it waits for after it has loaded the app."""
        assert self.process.stdin is not None
        # A host that has ended meanwhile is found by who waits for its address.
        with suppress(BrokenPipeError), self.process.stdin as settings_line:
            settings_line.write(json.dumps(dict(settings)).encode() + b"\n")

    def stop(self, is_urgent: Callable[[], bool]) -> None:
        """Ask it to end; it is killed when it takes too long or `is_urgent` says so."""
        if not self.has_ended:
            self.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        while not processes.has_ended_within(self.process, _PAUSE):
            if time.monotonic() < deadline and not is_urgent():
                continue
            note(
                "The gateway's process did not stop in time and is killed; its messages come back."
            )
            self.process.kill()
        self.process.wait()
        self._relay.join(timeout=1)

    def _relay_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.decode("utf-8", "replace").rstrip("\n")
            ready = _READY.fullmatch(text)
            if ready:
                self.url = ready.group(1).rstrip("/")
            else:
                with suppress(BrokenPipeError):
                    say(text)


@contextmanager
def running_host(
    port: int,
    environ: Mapping[str, str],
    log: Path,
    is_urgent: Callable[[], bool],
    certificate: Path | None = None,
    *,
    snapshots: Path | None = None,
) -> Iterator[HostProcess]:
    """A local host for the time of the block; its log lines go to the end of `log`.

    It loads the app, and waits for `HostProcess.give_settings` before it serves.

    With a `certificate` (its key lies beside it) it serves https, and GATEWAY_BASE_URL gives the
    app the address. The control calls of the stand-in are there only with a folder for its
    `snapshots`.
    """
    command = [str(PYTHON), "-m", "local_host", "--port", str(port)]
    command += ["--late-settings", "--preload", _LATE_IMPORTS]
    command += ["--standin", "--snapshots", str(snapshots)] if snapshots is not None else []
    if certificate is not None:
        key = certificate.with_name("key.pem")
        command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
        command += ["--address-setting", "GATEWAY_BASE_URL"]
    # Without bytecode in `__pycache__` the app would be compiled at each start.
    kept = {name: environ[name] for name in environ if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("ab") as errors:
        process = processes.start(
            command,
            death_signal=signal.SIGKILL,
            environ={**kept, "PYTHONUNBUFFERED": "1"},
            folder=ROOT,
            output=subprocess.PIPE,
            errors=errors,
            source=subprocess.PIPE,
        )
    host = HostProcess(process)
    # What calls it then is imported while it loads the app.
    importlib.import_module("urllib.request")
    try:
        yield host
    finally:
        host.stop(is_urgent)


def make_certificate(folder: Path) -> Path:
    """The certificate for https on this machine, in `folder`. Raises SetupError.

    The environment's Python makes it, since the standard library cannot.
    """
    command = [str(PYTHON), "-m", "local_host.certificate", str(folder)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if process.returncode:
        raise SetupError(f"No certificate could be made in {folder}: {process.stderr.strip()}")
    return folder / "cert.pem"


def find_health_problem(url: str, certificate: Path | None = None) -> str:
    """What the gateway says is wrong: a setting, or storage that does not answer; "" if nothing is.

    The health check also creates the tables of the gateway.
    """
    import ssl
    import urllib.error
    import urllib.request

    address = f"{url}/api/health"
    trust = ssl.create_default_context(cafile=certificate) if certificate else None
    try:
        with urllib.request.urlopen(address, timeout=_HEALTH_SECONDS, context=trust):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        body = json.loads(error.read() or b"{}")
        return str(body.get("message") or body.get("status") or f"health answers {error.code}")
    except (OSError, ValueError) as error:
        return f"The gateway does not answer: {error}"


def check_port(port: int) -> None:
    """Raise SetupError where nothing can listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise SetupError(
                f"Port {port} needs administrator rights. Choose a port above 1023 with --port."
            ) from error
        except OSError as error:
            raise SetupError(
                f"Port {port} is taken by another program. Choose another one with --port; "
                "--port 0 takes a free one."
            ) from error
