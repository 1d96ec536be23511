"""GCC's gcc.c-torture/execute: 1592 small C programs, and those of its ieee folder, each built in three ways.

A program fails by aborting. They are run as 64-bit code at -O2, as 64-bit code that is vectorised for AVX-512, and as 32-bit
code with x87 arithmetic: what the compiler makes of plain C, not intrinsics. Where the host lacks AVX-512 the guest must pass.
Source: gcc, testsuite/gcc.c-torture/execute and its *.exp.
"""
import re
import subprocess
from pathlib import Path

from gcc import FOLDER, directives, fits
from programs import Program, built, compare
from report import Context, Report

# How each is built, by what its name ends in.
WAYS = {
    "o2": (64, "-O2"),
    "v4": (64, "-O3 -march=skylake-avx512 -mprefer-vector-width=512"),
    "32": (32, "-O1 -mfpmath=387"),
}
IEEE = "-fno-inline -fno-trapping-math"
BUILD = r"""
mkdir -p bin; rm -f .failed .errors
while read -r name bits source; do
	read -r flags
	[ -e bin/$name ] && continue
	(cd execute && gcc -w -pipe -m$bits -no-pie -fno-pie -o ../.part $flags $source -lm) > /dev/null 2>> .errors &&
		mv .part bin/$name || echo $name >> .failed
done < programs
"""


def flags(path: Path, bits: int) -> str:
    """What a test asks for besides how it is built."""
    text = path.read_text(errors="replace")
    asked = [(words, target) for kind in ("options", "additional-options") for words, target in directives(text, kind)]
    # Of a target's expression only what is about x86 matters here.
    kept = [words for words, target in asked if not target or re.search(r"[x7]86", target) and fits(target, bits)]
    return " ".join([*kept, *([IEEE, "-ffloat-store" if bits == 32 else ""] if path.parent.name == "ieee" else [])])


def rows(folder: Path) -> str:
    """What the recipe reads: two lines for each program."""
    made = []
    for path in sorted([*folder.glob("*.c"), *folder.glob("ieee/*.c")]):
        file = str(path.relative_to(folder))
        for way, (bits, level) in WAYS.items():
            made.append(f"{file[:-2].replace('/', '-')}.{way} {bits} {file}\n{level} {flags(path, bits)}\n")
    return "".join(made)


def sources(context: Context):
    def prepare(work: Path) -> None:
        tar = next((context.packages.alone("gcc-12-source") / FOLDER).glob("gcc-12*.tar.xz"))
        command = ["tar", "-C", work, "--strip-components=4", "--wildcards", "-xf", tar]
        subprocess.run([*command, "*/gcc/testsuite/gcc.c-torture/execute"], check=True)
        (work / "programs").write_text(rows(work / "execute"))

    return prepare


def command(name: str) -> str:
    """How a program is run: what prints addresses of its stack, for its status only."""
    return f"bin/{name}" + (" > /dev/null" if name.startswith("return-addr.") else "")


def run(context: Context) -> Report:
    report = Report("torture")
    work = built(context, "torture", BUILD, sources(context), 4 * 3600)
    wanted = re.compile(context.only or "")
    names = sorted(path.name for path in (work / "bin").iterdir() if wanted.match(path.name))
    report.unbuilt(work, wanted)
    programs = [Program(name, command(name)) for name in names]
    compare(context, report, work, programs, [f"bin/{name}" for name in names], "torture", *context.kernels[:1],
            passes=True, native_of=lambda name, output: b"status 0\n" if output.endswith(b"status 132\n") else output)
    return report
