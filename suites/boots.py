"""Boots every kernel to power-off many times in a row: none of the words of a bad boot may be on the console.

Runs of one kernel on the same number of processors must also print the same, line for line: the machine is deterministic.
"""
import hashlib

from guest import boot, suite_image
from packages import KERNELS
from report import Context, Report

MAIN = r"""
nproc
dd if=/dev/zero bs=1k count=64 2> /dev/null | sha256sum
"""
# SHA-256 of 64 KiB of zeros.
ZEROS = "de2f256064a0af797747c2b97505dc0b9f3df0de4f489eac731c23ae9ca9cc31"


def run(context: Context) -> Report:
    report = Report("boots")
    for kernel in context.kernels or KERNELS:
        for cpus in context.cpus or [1]:
            series(context, report, kernel, cpus)
    return report


def series(context: Context, report: Report, kernel: str, cpus: int) -> None:
    image = suite_image(context.packages, MAIN).bytes()
    consoles, spent, good = set(), 0.0, 0
    for number in range(1, context.times + 1):
        result = boot(context.machine, context.packages, kernel, image, f"boot-{kernel}-{cpus}", mem=512, cpus=cpus, seconds=600)
        lines = result.console()
        problems = [result.trouble()] if result.trouble() else []
        problems += [f"bad: {line}" for line in result.bad()]
        problems += [f"not printed: {want}" for want in (str(cpus), f"{ZEROS}  -") if want not in lines]
        problems += [] if any("reboot: Power down" in line for line in lines) else ["no power-off"]
        report.failed += [f"{kernel}, {cpus} processors, boot {number}: {problem}" for problem in problems]
        good += not problems
        report.lines += len(lines)
        consoles.add(hashlib.sha256("\n".join(lines).encode()).hexdigest())
        spent += result.cpu_s
    report.passed += good
    report.failed += [f"{kernel}, {cpus} processors: {len(consoles)} different consoles"] if len(consoles) > 1 else []
    report.figures.append(f"{kernel}, {cpus} processors: {good} of {context.times} boots, {spent / context.times:.1f} s of CPU each")
    print(f"  {report.figures[-1]}", flush=True)
