"""Runs commands on the host's own processor inside a package tree, so that they meet the libraries that the guest has.

`unshare` makes the tree the root folder; as an ordinary user it needs unprivileged user namespaces.
"""
import os
import subprocess
from pathlib import Path

ENTER = """
mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t tmpfs tmp "$1/tmp" && mount --bind "$2" "$1/work" || exit
cd "$1/work" && exec chroot "$1" /bin/sh -c 'cd /work && ulimit -c 0 && exec "$@"' sh sh -c "$3"
"""


def run(tree: Path, work: Path, command: str, seconds: float = 600) -> tuple[bytes, int]:
    """`command` with sh in `work`, which is /work inside `tree`. Gives its output with its errors, and its status."""
    user = [] if os.getuid() == 0 else ["-r"]
    words = ["setarch", "-R", "unshare", *user, "-m", "-p", "-f", "sh", "-c", ENTER, "sh", str(tree), str(work), command]
    environment = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "TERM": "dumb", "LC_ALL": "C"}
    outside = {**environment, "PATH": os.environ["PATH"]}
    try:
        done = subprocess.run(words, env=outside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        return late.stdout or b"", 137
    return done.stdout, done.returncode
