"""GCC's run tests of gcc.target/i386: SSE to SSE4.2, AVX, AVX2, FMA, BMI, AVX-512 and its extensions, each an intrinsic.

A test fails by aborting. Most pass silently where CPUID lacks the feature, so a program of our own first wants every feature
in CPUID, and tests that say so (`-DDEBUG`) must say PASSED. Source: gcc, testsuite/gcc.target/i386 and its *-check.h.
"""
import re
import subprocess
from pathlib import Path

from programs import Program, built, compare
from report import Context, Report

# What no Sapphire Rapids has: tests of it skip themselves everywhere or raise #UD.
ABSENT = re.compile(r"(xop|fma4|tbm|sse4a|avx512er|avx512pf|avx5124|avx512vp2intersect|amd|3dnow|avx512f-.*-er|lwp|clzero|"
                    r"mwaitx|kl-|widekl|rtm|hle|uintr|cet|shadow)")
FEATURES = ("cmov mmx sse sse2 sse3 ssse3 sse4.1 sse4.2 popcnt avx avx2 fma bmi bmi2 lzcnt movbe adx aes pclmul sha gfni vaes "
            "vpclmulqdq f16c fsgsbase rdrnd rdseed xsave xsavec xsaveopt xsaves clflushopt clwb movdiri movdir64b serialize "
            "waitpkg pku rdpid avxvnni avx512f avx512bw avx512cd avx512dq avx512vl avx512vbmi avx512vbmi2 avx512vnni "
            "avx512ifma avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16").split()
CHECK = """#include <stdio.h>
int main(void) {{ int lacks = 0; __builtin_cpu_init();
{} return lacks; }}
"""
BUILD = r"""
mkdir -p bin; rm -f .failed
gcc -w -O -o bin/features features.c
while read -r name bits sources; do
	read -r flags
	[ -e bin/$name ] || (cd gcc.target/i386; gcc -w -DDEBUG -m$bits -no-pie -fno-pie -o ../../bin/$name $flags $sources -lm) \
		> /dev/null 2>> .errors || echo $name >> .failed
done < programs
"""


def directives(text: str, name: str):
    """The arguments of `{ dg-NAME ... }`, each with the target it is for (or none)."""
    pattern = r'\{ *dg-' + name + r' +"((?:[^"\\]|\\.)*)"(?: *\{ *target +(.*?)\} *\}| *\})'
    return [(words.replace('\\"', '"'), (target or "").strip()) for words, target in re.findall(pattern, text)]


def fits(target: str, bits: int) -> bool:
    """Whether a target expression holds for Linux on x86; what it says of the compiler is taken as given."""
    wants = re.sub(r"[{}]", " ", target).split()
    negated = {wants[at + 1] for at, word in enumerate(wants[:-1]) if word == "!"}
    plain = set(wants) - negated
    if bits == 32:
        return "ia32" not in negated and not plain & {"lp64", "x32", "int128"} or "||" in wants
    return "ia32" not in plain and not negated & {"lp64"} and not (plain == {"x32"})


def program(path: Path) -> tuple[str, int, str, str] | None:
    """Name, bits, sources and flags of a run test."""
    text = path.read_text(errors="replace")
    run = re.search(r"\{ *dg-do +run(?: *\{ *target +(.*?)\} *\}| *\})", text)
    if not run or ABSENT.match(path.name):
        return None
    bits = 64 if fits(run[1] or "", 64) else 32
    flags = [words for words, target in directives(text, "options") if not target or fits(target, bits)][-1:]
    flags += [words for words, target in directives(text, "additional-options") if not target or fits(target, bits)]
    sources = [path.name] + [words for words, _ in directives(text, "additional-sources")]
    return path.stem, bits, " ".join(sources), " ".join(flags)


def programs_of(folder: Path) -> list[tuple[str, int, str, str]]:
    """All run tests: plain SSE and AVX first, AVX-512 last."""
    found = [made for path in sorted(folder.glob("*.c")) if (made := program(path))]
    return sorted(found, key=lambda one: (one[0].startswith("avx512"), not re.match(r"(mmx|s?sse|avx|fma|bmi)", one[0]), one[0]))


def sources(context: Context):
    def prepare(work: Path) -> None:
        folder = context.packages.alone("gcc-12-source") / "usr/src/gcc-12"
        tar = next(folder.glob("gcc-12*.tar.xz"))
        # Some tests include one of these other folders.
        folders = [f"*/gcc/testsuite/{name}" for name in ("gcc.target/i386", "gcc.dg", "gcc.c-torture/execute")]
        subprocess.run(["tar", "-C", work, "--strip-components=3", "--wildcards", "-xf", tar, *folders], check=True)
        rows = programs_of(work / "gcc.target/i386")
        (work / "programs").write_text("".join(f"{name} {bits} {files}\n{flags}\n" for name, bits, files, flags in rows))
        asks = "".join(f'if (!__builtin_cpu_supports("{f}")) {{ puts("no {f}"); lacks = 1; }}\n' for f in FEATURES)
        (work / "features.c").write_text(CHECK.format(asks))

    return prepare


def run(context: Context) -> Report:
    report = Report("gcc")
    work = built(context, "gcc", BUILD, sources(context), 4 * 3600)
    names = sorted(path.name for path in (work / "bin").iterdir())
    wanted = re.compile(context.only) if context.only else re.compile("")
    names = [name for name in names if wanted.match(name)]
    unbuilt = (work / ".failed").read_text().split() if (work / ".failed").exists() else []
    known = report.known()
    report.failed += [f"{name}: does not build" for name in unbuilt if not known.skip(name) and wanted.match(name)]
    report.skipped += [f"{name}: {known.skip(name)}" for name in unbuilt if known.skip(name)]
    programs = [Program(name, f"bin/{name}") for name in names]
    compare(context, report, work, programs, [f"bin/{name}" for name in names], "gcc", *context.kernels[:1],
            native_of=lambda name, output: b"status 0\n" if name == "features" else output.replace(b"SKIPPED", b"PASSED"))
    return report
