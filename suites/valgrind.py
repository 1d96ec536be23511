"""Valgrind's none/tests for amd64 and x86: programs that run instructions and print or check the results.

The insn_* programs are generated from tables of operands and expected results. Source: valgrind,
none/tests/{amd64,x86}/Makefile.am and gen_insn_test.pl.
"""
import subprocess
from pathlib import Path

from programs import Program, built, compare
from report import Context, Report

BUILD = r"""
one() { # folder, bits, name
	more=
	case $3 in clc|bug137714*|fb_test*|shrld|bt_*) more=-fno-pie ;; allexec) return ;; esac
	(cd src/none/tests/$1 && gcc -w -m$2 -O -g -std=gnu99 -no-pie -fno-pie -I../../.. -I../../../include -DVGO_linux=1 \
		-DVGA_$1=1 -DVGP_$1_linux=1 -mmmx -msse -msse2 -mfpmath=$4 $3.[cS] -lm -lpthread -o /work/$3.$2) >> .errors 2>&1 ||
		gcc_again $1 $2 $3
}
# What needs a later extension in its intrinsics or its assembler.
gcc_again() {
	(cd src/none/tests/$1 && gcc -w -m$2 -O -std=gnu99 -no-pie -fno-pie -I../../.. -I../../../include -DVGO_linux=1 \
		-DVGA_$1=1 -mavx2 -mfma -mbmi -mbmi2 -mlzcnt -mf16c -mmovbe -mrdrnd -mrdseed -msse4.2 -mpclmul -maes -mtbm -mfma4 \
		$3.[cS] -lm -lpthread -o /work/$3.$2) >> .errors 2>&1 || echo $3.$2 >> .failed
}
touch src/config.h
for file in src/none/tests/amd64/*.[cS]; do name=${file##*/}; one amd64 64 ${name%.?} sse; done
for file in src/none/tests/x86/*.[cS]; do name=${file##*/}; one x86 32 ${name%.?} 387; done
"""


def sources(context: Context):
    def prepare(work: Path) -> None:
        tar = next(context.packages.source("valgrind").glob("valgrind_*.orig.tar.bz2"))
        (work / "src").mkdir()
        command = ["tar", "-C", work / "src", "--strip-components=1", "--wildcards", "-xf", tar]
        subprocess.run([*command, "*/none/tests/amd64", "*/none/tests/x86", "*/tests/*.h", "*/include/*.h"], check=True)
        for table in sorted((work / "src/none/tests").glob("*/insn_*.def")):
            generator = table.parent / "gen_insn_test.pl"
            with open(table, "rb") as read, open(table.with_suffix(".c"), "wb") as write:
                subprocess.run(["perl", generator], stdin=read, stdout=write, check=True)

    return prepare


def run(context: Context) -> Report:
    report = Report("valgrind")
    work = built(context, "valgrind", BUILD, sources(context))
    names = sorted(path.name for path in work.iterdir() if path.suffix in (".32", ".64"))
    names = [name for name in names if not context.only or name.startswith(context.only)]
    known = report.known()
    failed = (work / ".failed").read_text().split() if (work / ".failed").exists() else []
    report.failed += [f"{name}: does not build" for name in failed if not known.skip(name)]
    report.skipped += [f"{name}: {known.skip(name)}" for name in failed if known.skip(name)]
    programs = [Program(name, f"./{name}", 300) for name in names]
    compare(context, report, work, programs, names, "valgrind", *(context.kernels or ["6.1"])[:1])
    return report
