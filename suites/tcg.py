"""QEMU's tests/tcg: x86 programs that print what hundreds of thousands of instructions do, and self-checking ones.

Built from Debian's source package of QEMU as static programs, in 64 and in 32 bits. Source: QEMU,
tests/tcg/{i386,x86_64,multiarch}/Makefile.target (which program needs which flags).
"""
import subprocess
from pathlib import Path

from programs import Program, built, compare
from report import Context, Report

BUILD = r"""
set -e
S=/work/src/tests/tcg I=$S/i386 M=$S/multiarch
python3 $I/test-mmx.py $I/x86.csv test-mmx.h MMX SSE SSE2 SSE3 SSSE3
python3 $I/test-avx.py $I/x86.csv test-avx.h
one() { # name, bits, flags and sources
	name=$1 bits=$2; shift 2
	gcc -m$bits -static -no-pie -fno-pie -O2 -fno-strict-aliasing -w -I. -I$M "$@" -lm -o $name.$bits -lrt -lpthread
}
# The generated programs are one enormous function each: optimising it takes minutes and gains nothing.
one test-mmx 64 -O -masm=intel $I/test-mmx.c &
one test-avx 64 -O -mavx -masm=intel $I/test-avx.c
one test-i386 64 $I/test-i386.c
one test-i386 32 $I/test-i386.c $I/test-i386-code16.S $I/test-i386-vm86.S
one test-i386-ssse3 64 $I/test-i386-ssse3.c
one test-i386-bmi2 64 $I/test-i386-bmi2.c
for bits in 32 64; do
	for name in f2xm1 fbstp fisttp fldcst fp-exceptions fpatan fprem fscale fxam fxtract fyl2x fyl2xp1 pseudo-denormal \
		snan-convert; do one test-i386-$name $bits $I/test-i386-$name.c; done
	one test-i386-sse-exceptions $bits -msse4.1 -mfpmath=sse $I/test-i386-sse-exceptions.c
	one test-i386-pcmpistri $bits -msse4.2 $I/test-i386-pcmpistri.c
	for name in convd convs madds; do one float_$name $bits $M/float_$name.c $M/libs/float_helpers.c; done
	for name in sha1 sha512 overflow signals sigbus test-mmap testthread threadcount munmap-pthread; do
		one $name $bits $M/$name.c; done
	one linux-test $bits $M/linux/linux-test.c
	one linux-madvise $bits $M/linux/linux-madvise.c
	one sha512-sse $bits -msse4.1 -O3 $M/sha512.c
done
for name in cmpxchg noexec vsyscall; do one $name 64 $S/x86_64/$name.c; done
wait
"""
# Left out unless `--only` names them: QEMU's own makefile runs them only where SPEED=slow.
SLOW = ("test-i386-fprem.32", "test-i386-fprem.64")


# What depends on the scheduler, on where the kernel maps things, on the clock or on the maker's tables, and how it is taken out.
FILTERS = {
    "test-avx": r"sed '/R\(CP\|SQRT\)[PS]S /{p;N;N;d}'",
    "test-mmx": r"sed '/R\(CP\|SQRT\)[PS]S /{p;N;N;d}'",
    "vsyscall": "sed s/^[0-9]*$/time/",
    "signals": "sed 's/ saw .*//' | sort",
    "testthread": "sort",
    "test-mmap": "sed 's/addr=0x[0-9a-f]*//'",
}


def command(name: str) -> str:
    """How a program is run: with its status whatever becomes of its output."""
    kept = FILTERS.get(name.rsplit(".", 1)[0])
    return f"./{name} > /tmp/out 2>&1; s=$?; cat /tmp/out | {kept}; exit $s" if kept else f"./{name}"


def sources(context: Context):
    def prepare(work: Path) -> None:
        tar = next(context.packages.source("qemu").glob("qemu_*.orig.tar.xz"))
        (work / "src").mkdir()
        subprocess.run(["tar", "-C", work / "src", "--strip-components=1", "--wildcards", "-xf", tar, "*/tests/tcg"], check=True)

    return prepare


def run(context: Context) -> Report:
    report = Report("tcg")
    work = built(context, "tcg", BUILD, sources(context))
    names = sorted(path.name for path in work.iterdir() if path.suffix in (".32", ".64"))
    names = [name for name in names if (name.startswith(context.only) if context.only else name not in SLOW)]
    report.skipped += [] if context.only else [f"{name}: half a million lines; --only {name}" for name in SLOW]
    programs = [Program(name, command(name), 100) for name in names]
    kernel = (context.kernels or ["6.1"])[0]
    compare(context, report, work, programs, names, "tcg", kernel, append="vsyscall=xonly")
    return report
