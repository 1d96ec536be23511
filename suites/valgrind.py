"""Valgrind's none/tests for amd64 and x86: programs that run instructions and print or check the results.

The insn_* programs are generated from tables of operands and expected results. Source: valgrind,
none/tests/{amd64,x86}/Makefile.am and gen_insn_test.pl.
"""
import re
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

# The manual leaves AF and PF undefined behind BLSI, BLSMSK, BLSR, BZHI and BEXTR: flags as hexadecimal at the line's end.
UNDEFINED = r"sed '/^b/{s/4$/0/;s/5$/1/;s/1\(.\)$/0\1/;s/5\(.\)$/4\1/;s/9\(.\)$/8\1/;s/d\(.\)$/c\1/}'"
# Behind LZCNT all but CF and ZF.
COUNTS = r"sed '/^lzcnt/{s/4$/0/;s/5$/1/;s/[189]\(.\)$/0\1/;s/[5cd]\(.\)$/4\1/;s/8\(..\)$/0\1/}'"
# What takes longer than 10 seconds of the guest's time.
SECONDS = {"fb_test_amd64.64": 100}
FILTERS = {"bmi.64": UNDEFINED, "lzcnt32.32": COUNTS, "lzcnt64.64": COUNTS}


def command(name: str) -> str:
    kept = FILTERS.get(name)
    return f"./{name} > /tmp/out 2>&1; s=$?; {kept} /tmp/out; exit $s" if kept else f"./{name}"


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
    report.unbuilt(work, re.compile(context.only or ""))
    programs = [Program(name, command(name), SECONDS.get(name, 10)) for name in names]
    compare(context, report, work, programs, names, "valgrind", *(context.kernels or ["6.1"])[:1])
    return report
