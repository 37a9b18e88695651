"""The client of `fork_server.py`: PROGRAM ARGUMENTS... become those of a forked child with these streams."""

import json
import os
import socket
import sys

FAULT = 70

with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ["EVENVOICE_DOCS_SOCKET"])
    message = {
        "program": sys.argv[1],
        "arguments": sys.argv[2:],
        "folder": os.getcwd(),  # noqa: PTH109  # pathlib takes longer to load than this takes to run
        "environment": dict(os.environ),
    }
    socket.send_fds(server, [json.dumps(message).encode()], [0, 1, 2])
    code = server.recv(1)
sys.exit(code[0] if code else FAULT)
