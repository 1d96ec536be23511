"""Memtest86+ runs one full pass over the guest's memory and finds no error.

Debian's memtest86+ (a bzImage) reports on the serial port as on a screen, whose lines are read off what it draws. A pass is all of
its 11 tests; the last waits twice 80 seconds of the guest's time, which is most of what it takes here.
"""
import re
import shlex
import subprocess
import time

from report import Context, Report

ROWS, COLUMNS = 25, 80


class Screen:
    """A terminal, as far as memtest86+ uses it: text at places."""

    def __init__(self):
        self.cells = [[" "] * COLUMNS for _ in range(ROWS)]
        self.row = self.column = 0
        self.rest = ""

    def feed(self, text: str) -> None:
        text = self.rest + text
        # A sequence that is not whole yet waits for its end.
        cut = text.rfind("\x1b")
        whole = cut < 0 or re.match(r"\x1b\[[0-9;?]*[A-Za-z]", text[cut:])
        self.rest = "" if whole else text[cut:]
        for sequence, move, char in re.findall(r"(\x1b\[([0-9;?]*[A-Za-z]))|([^\x1b])", text if whole else text[:cut]):
            if sequence:
                place = re.fullmatch(r"(\d+);(\d+)H", move)
                self.row, self.column = (int(place[1]) - 1, int(place[2]) - 1) if place else (self.row, self.column)
            elif char >= " " and self.row < ROWS and self.column < COLUMNS:
                self.cells[self.row][self.column] = char
                self.column += 1

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.cells]

    def number(self, name: str) -> int | None:
        """The number behind a name and a colon."""
        found = re.search(name + r": +(\d+)", "\n".join(self.lines()))
        return int(found[1]) if found else None


def run(context: Context) -> Report:
    report = Report("memtest")
    binary = context.packages.alone("memtest86+") / "boot/memtest86+x64.bin"
    words = shlex.split(context.machine.command)
    at = words.index("{initrd}")
    del words[at - 1 : at + 1]
    megabytes = int(context.only or 8)
    fill = {"kernel": binary, "append": "console=ttyS0,115200 nopause nosm nobench nosmp", "mem": megabytes, "cpus": 1}
    screen, start = Screen(), time.monotonic()
    watch([word.format(**fill) for word in words], screen, 7200 * context.machine.scale)
    context.machine.logs.mkdir(parents=True, exist_ok=True)
    (context.machine.logs / "memtest.log").write_text("\n".join(screen.lines()) + "\n")
    report.lines = len(screen.lines())
    errors, passes = screen.number("Errors"), screen.number("Pass")
    report.passed = passes or 0
    report.failed += [f"{errors} errors: see memtest.log"] if errors != 0 else []
    report.failed += [f"no full pass in {time.monotonic() - start:.0f} s"] if not passes else []
    report.figures.append(f"{megabytes} MiB, {passes} pass, {errors} errors, {clock(screen)} of the guest's time")
    return report


def clock(screen: Screen) -> str:
    """How long it has run, as it says."""
    found = re.search(r"Time: +(\d+:\d+:\d+)", "\n".join(screen.lines()))
    return found[1] if found else "no time"


def watch(command: list[str], screen: Screen, seconds: float) -> None:
    """Runs memtest86+ until it has made a pass, found an error or used its time."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    end = time.monotonic() + seconds
    while time.monotonic() < end and (got := process.stdout.read1(1 << 16)):
        screen.feed(got.decode("utf8", "replace"))
        if screen.number("Pass") or screen.number("Errors"):
            break
    process.kill()
    process.wait()
