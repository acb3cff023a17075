"""The processes of torchrun: how they meet."""

import os
import signal
import socket
import subprocess
import sys

import pytest

ALONE = """
import signal
import sys
import torch
from experiments.signals import handled, interrupt
from swag_repro.training import batches

batches.SOON = 0.1
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
with handled(interrupt):
    try:
        with batches.World(rank=0, size=2).joined(torch.device("cpu"), lambda: print("waiting", flush=True)):
            pass
    except KeyboardInterrupt as error:
        sys.exit(128 + error.number)
"""
"""The first of two processes, whose other one never comes."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_waits_for_others_says_so_and_ends_by_a_signal(number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-c", ALONE], env=os.environ | place, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(number)
        assert process.wait(300) == 128 + number  # torch itself would wait for half an hour
