"""DAMNIT's listener with another broker than the one in its code: `listen.py BROKER`, in the directory of its
database.
"""

import logging
import sys
from pathlib import Path

from damnit.backend import listener

for configuration in listener.KAFKA_CONF.values():
    configuration["brokers"] = [sys.argv[1]]
logging.basicConfig(level=logging.INFO)
listener.listen(Path.cwd())
