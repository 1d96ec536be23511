"""Test programs: built once in a Debian tree, run on the host's processor and in the guest, compared line for line."""
import gzip
import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import native
from guest import boot, suite_image
from report import Context, Report, compared

# The compiler; what programs need in the guest; what their commands need natively, where there is no busybox.
BUILD = ["gcc", "gcc-multilib", "g++", "libc6-dev", "make", "dash", "coreutils", "python3-minimal"]
RUN = ["libc6", "libc6-i386", "libgcc-s1", "lib32gcc-s1", "libstdc++6"]
NATIVE = [*RUN, "dash", "coreutils", "grep", "sed"]
# Longest time of a program on the host's processor.
NATIVE_S = 60

# Runs each line "NAME SECONDS COMMAND" of .list; keeps output and status in .native/NAME as guest/compare.sh makes them.
RECORD = r"""
mkdir -p .native
while read -r name seconds command; do
	timeout -s KILL "$seconds" sh -c "$command" > .native/$name 2>&1 < /dev/null
	echo "status $?" >> .native/$name
done < .list
"""


class Unbuilt(Exception):
    """A recipe failed: its log's end."""


@dataclass(frozen=True)
class Program:
    """A program: its name, the command that runs it in /work, how long that may take in the guest (seconds of it)."""

    name: str
    command: str
    seconds: int = 10

    def line(self) -> str:
        return f"{self.name} {self.seconds} {self.command}\n"


def built(context: Context, name: str, recipe: str, prepare=None, seconds: float = 3600, packages=()) -> Path:
    """The folder in which `recipe`, a shell script, built the programs of suite `name`; `prepare` puts sources there.

    `packages`: what the recipe needs instead of the compiler.
    """
    work = context.cache / "built" / name
    begun, mark = work / ".begun", work / ".recipe"
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    is_mine = lambda file: file.exists() and file.read_text() == digest
    if is_mine(mark):
        return work
    tree = context.packages.tree(f"native-{name}", [*NATIVE, *packages]) if packages else context.packages.tree("build", BUILD)
    # What was interrupted goes on: recipes leave alone what they find built.
    if not is_mine(begun):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        if prepare:
            prepare(work)
        begun.write_text(digest)
    print(f"building {name}", flush=True)
    (work / ".build.sh").write_text(recipe)
    output, status = native.run(tree, work, "sh .build.sh", seconds)
    (work / ".build.log").write_bytes(output)
    if status != 0:
        raise Unbuilt(f"building {name} failed with {status}: {work}/.build.log\n" + output.decode(errors="replace")[-2000:])
    mark.write_text(digest)
    return work


def recorded(work: Path, programs: list[Program], tree: Path) -> None:
    """Runs the programs natively in `tree`; what they print goes to .native in `work`."""
    shutil.rmtree(work / ".native", ignore_errors=True)
    (work / ".list").write_text("".join(replace(program, seconds=NATIVE_S).line() for program in programs))
    (work / ".record.sh").write_text(RECORD)
    native.run(tree, work, "sh .record.sh", 7200)


def compare(context: Context, report: Report, work: Path, programs: list[Program], files: list[str], name: str,
            kernel: str = "6.1-cloud", mem: int = 1024, seconds: float = 1800, cpus: int = 1,
            append: str = "", native_of=lambda name, output: output, keep=(), passes: bool = False, packages=()) -> None:
    """Runs `programs` natively and in a guest that has `files` of `work`, and reads the differences into `report`.

    `native_of` makes what is expected of a program out of its native output. A program that does not end natively is left out
    and listed, but for those of `keep`. `passes`: a program that natively ends with another status than 0 is a failure, unless
    that is known. `packages`: what the programs need besides the libraries.
    """
    tree = lambda name, least: context.packages.tree(f"{name}-{report.suite}" if packages else name, [*least, *packages])
    programs = to_run(context, report, work, programs, tree("native", NATIVE), keep)
    if not programs:
        report.failed.append("no program to run")
        return
    # Some programs have arrays larger than the guest's memory, of which they touch little.
    main = "echo 1 > /proc/sys/vm/overcommit_memory\nsh /suite/compare"
    image = suite_image(context.packages, main, [tree("run", RUN)])
    for file in files:
        path = work / file
        if path.is_dir():
            image.tree(path, f"work/{file}", ())
        else:
            image.file(f"work/{file}", path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    for program in programs:
        output = native_of(program.name, (work / ".native" / program.name).read_bytes())
        status = output.decode(errors="replace").splitlines()[-1]
        if passes and status != "status 0" and not report.known().reason(program.name, status):
            report.failed.append(f"{program.name}: natively {status}")
        image.file(f"suite/native/{program.name}.gz", gzip.compress(output, 6, mtime=0), 0o644)
    image.file("suite/list", "".join(program.line() for program in programs), 0o644)
    print(f"running {len(programs)} programs in the guest", flush=True)
    run = boot(context.machine, context.packages, kernel, image.bytes(), name, f"norandmaps {append}", mem, cpus, seconds)
    compared(run, report, [program.name for program in programs])
    report.figures.append(f"{name}: {len(programs)} programs on {kernel}, {run.cpu_s:.0f} s of CPU")


def to_run(context: Context, report: Report, work: Path, programs: list[Program], tree: Path, keep) -> list[Program]:
    """Runs `programs` natively; gives those that the guest is to run, and lists the others in `report`."""
    known = report.known()
    skipped = [program for program in programs if known.skip(program.name)]
    report.skipped += [f"{program.name}: {known.skip(program.name)}" for program in skipped]
    programs = [program for program in programs if program not in skipped]
    recorded(work, programs, tree)
    ends = lambda name: not (work / ".native" / name).read_bytes().endswith(b"\nstatus 137\n")
    endless = [program for program in programs if program.name not in keep and not ends(program.name)]
    report.skipped += [f"{program.name}: does not end natively in {NATIVE_S} s" for program in endless]
    return [program for program in programs if program not in endless]
