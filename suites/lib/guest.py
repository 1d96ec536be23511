"""Boots a guest in `unhalted` (or in any machine by a command), keeps its console, and reads what the suite printed."""
import os
import re
import select
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from image import Image

# What no line of a clean boot holds. Source: frontend/tests/debian.rs.
BAD = ("WARNING:", "BUG:", "Oops", "unchecked MSR access error", "spurious", "unexpected IRQ", "nobody cared", "stall",
       "unstable", "soft lockup", "[Firmware Bug]", "calibration not consistent", "mismatch")


@dataclass
class Machine:
    """How guests are run: `command` has {kernel}, {initrd}, {append}, {mem} and {cpus}."""

    command: str
    logs: Path
    scale: float = 1.0


@dataclass
class Boot:
    """How a run ended and what it printed."""

    lines: list[str] = field(default_factory=list)
    done: int | None = None
    exit: int | None = None
    cpu_s: float = 0.0
    timed_out: bool = False

    def console(self) -> list[str]:
        """What the guest printed: all up to the power-off, not the machine's own summary."""
        last = next((at for at, line in enumerate(self.lines) if "reboot: " in line), len(self.lines) - 1)
        return self.lines[: last + 1]

    def bad(self) -> list[str]:
        return [line for line in self.console() if any(word in line for word in BAD)]

    def trouble(self) -> str | None:
        """Why the run is no clean one, if so."""
        if self.timed_out:
            return "timed out"
        if self.done is None:
            return f"ended with {self.exit} before the suite did; last line: {(self.lines or ['none'])[-1]}"
        return None if self.exit == 0 else f"the machine ended with {self.exit}"


def suite_image(packages, main: str, trees=(), modules=None, kernel: str | None = None) -> Image:
    """An image with busybox, our init, `main` and what of `trees` and the kernel's modules is asked for."""
    image = Image()
    here = Path(__file__).parent.parent / "guest"
    for tree in trees:
        image.tree(tree)
    busybox = packages.tree("busybox", ["busybox-static"]) / "usr/bin/busybox"
    image.file("usr/bin/busybox", busybox.read_bytes())
    image.link("usr/sbin/modprobe", "../bin/busybox")
    if "usr/bin/sh" not in image.entries:
        image.link("usr/bin/sh", "busybox")
    image.file("init", (here / "init").read_bytes())
    image.file("suite/compare", (here / "compare.sh").read_bytes())
    image.file("suite/main", main)
    if modules:
        image.modules(packages.kernel(kernel), modules)
    return image


def boot(machine: Machine, packages, kernel: str, image: bytes, name: str, append: str = "", mem: int = 1024,
         cpus: int = 1, seconds: float = 600, vmlinuz: Path | None = None) -> Boot:
    """Runs a guest to its end, at most `seconds` of the host."""
    machine.logs.mkdir(parents=True, exist_ok=True)
    initrd = machine.logs / f"{name}.initrd"
    initrd.write_bytes(image)
    vmlinuz = vmlinuz or next(packages.kernel(kernel).glob("boot/vmlinuz-*"))
    words = {"kernel": vmlinuz, "initrd": initrd, "append": f"console=ttyS0,115200 panic=-1 {append}", "mem": mem, "cpus": cpus}
    command = [word.format(**words) for word in shlex.split(machine.command)]
    run = Boot()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)
    read(process, run, machine.logs / f"{name}.log", seconds * machine.scale)
    if run.timed_out:
        os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    run.exit = os.waitstatus_to_exitcode(status)
    run.cpu_s = usage.ru_utime + usage.ru_stime
    initrd.unlink(missing_ok=True)
    return run


def read(process, run: Boot, log: Path, seconds: float) -> None:
    """Reads the console to its end or for `seconds`, into `run` and `log`."""
    start, rest = time.monotonic(), b""
    with open(log, "w", encoding="utf8") as file:
        while True:
            left = start + seconds - time.monotonic()
            if left <= 0:
                run.timed_out = True
                return
            if not select.select([process.stdout], [], [], min(left, 1))[0]:
                continue
            got = os.read(process.stdout.fileno(), 1 << 16)
            *whole, rest = (rest + got).split(b"\n")
            for raw in whole if got else [rest]:
                line = re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", raw.decode("utf8", "replace").rstrip("\r"))
                file.write(f"{time.monotonic() - start:9.3f} {line}\n")
                run.lines.append(line)
                done = re.match(r"@@ DONE (\d+)", line)
                run.done = int(done[1]) if done else run.done
            file.flush()
            if not got:
                return
