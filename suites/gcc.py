"""GCC's run tests of gcc.target/i386: SSE to SSE4.2, AVX, AVX2, FMA, BMI, AVX-512 and its extensions, each an intrinsic.

A test fails by aborting. Most pass silently where CPUID lacks the feature, so a program of our own first wants every feature
in CPUID, and tests that say so (`-DDEBUG`) must say PASSED. Source: gcc, testsuite/gcc.target/i386 and its *-check.h.
"""
import re
import subprocess
from collections import Counter
from pathlib import Path

from programs import Program, built, compare
from report import Context, Report

# What no Sapphire Rapids has: tests of it skip themselves everywhere or raise #UD.
ABSENT = re.compile(r"(xop|fma4|sse4a|avx512er|avx5124|avx512vp2intersect)")
# Targets of these words are other systems than Linux.
ELSEWHERE = {"pe_aligned_commons", "*-*-darwin*", "*-*-mingw*", "*-*-cygwin*"}
# Where the package has the sources.
FOLDER = "usr/src/gcc-12"
FEATURES = ("cmov mmx sse sse2 sse3 ssse3 sse4.1 sse4.2 popcnt avx avx2 fma bmi bmi2 lzcnt movbe adx aes pclmul sha gfni vaes "
            "vpclmulqdq f16c fsgsbase rdrnd rdseed xsave xsavec xsaveopt xsaves clflushopt clwb movdiri movdir64b serialize "
            "waitpkg pku rdpid avxvnni avx512f avx512bw avx512cd avx512dq avx512vl avx512vbmi avx512vbmi2 avx512vnni "
            "avx512ifma avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16").split()
CHECK = """#include <stdio.h>
int main(void) {{ int lacks = 0; __builtin_cpu_init();
{} return lacks; }}
"""
# Reading the intrinsics' headers is most of a build: programs that follow each other with the same flags share one read for all.
# What is interrupted leaves no half a program: it is built under another name.
BUILD = r"""
mkdir -p bin pre; rm -f .failed .errors
gcc -w -O -o bin/features features.c || exit
printf '#include <%s.h>\n' stdlib stdio immintrin > pre/all.h
made() { (cd gcc.target/i386 && gcc -w -pipe -DDEBUG -no-pie -fno-pie "$@") > /dev/null 2>> .errors; }
while read -r name bits shared sources; do
	read -r flags
	[ -e bin/$name ] && continue
	if [ $shared = yes ] && [ "$have" != "$bits $flags" ]; then
		rm -f pre/all.h.gch
		made -m$bits $flags -x c-header -o ../../pre/all.h.gch ../../pre/all.h
		have="$bits $flags"
	fi
	[ $shared = yes ] && made -m$bits -include ../../pre/all.h -o ../../.part $flags $sources -lm ||
		made -m$bits -o ../../.part $flags $sources -lm && mv .part bin/$name || echo $name >> .failed
done < programs
rm -rf pre
"""
# Flags that only write what the compiler did, for tests that search in it.
LISTINGS = re.compile(r"(^| )(-save-temps|-fdump-\S+|-dp|-dA|-fverbose-asm|-fopt-info\S*)(?= |$)")


def directives(text: str, name: str) -> list[tuple[str, str]]:
    """The arguments of `{ dg-NAME ... }`, each with the target it is for (or none)."""
    pattern = r'\{ *dg-' + name + r' +\{? *(?:"((?:[^"\\]|\\.)*)" *\}?|([^\s"{}]+))(?: *\{ *target +(.*?)\} *\}| *\})'
    found = re.findall(pattern, text)
    return [((quoted or bare).replace('\\"', '"'), target.strip()) for quoted, bare, target in found]


def fits(target: str, bits: int) -> bool:
    """Whether a target expression holds for Linux on x86; what it says of the compiler is taken as given."""
    wants = re.sub(r"[{}]", " ", target).split()
    negated = {wants[at + 1] for at, word in enumerate(wants[:-1]) if word == "!"}
    plain = set(wants) - negated
    if plain & ELSEWHERE:
        return False
    if bits == 32:
        return "ia32" not in negated and not plain & {"lp64", "x32", "int128"} or "||" in wants
    return "ia32" not in plain and not negated & {"lp64"} and not (plain == {"x32"})


def program(path: Path) -> tuple[str, int, str, str] | None:
    """Name, bits, sources and flags of a run test."""
    text = path.read_text(errors="replace")
    run = re.search(r"\{ *dg-do +run(?: *\{ *target +(.*?)\} *\}| *\})", text)
    if not run or ABSENT.match(path.name):
        return None
    only32 = "dg-require-effective-target ia32" in text or "{ ! { ia32" in text
    bits = 32 if only32 or not fits(run[1] or "", 64) else 64
    flags = [words for words, target in directives(text, "options") if not target or fits(target, bits)][-1:]
    flags += [words for words, target in directives(text, "additional-options") if not target or fits(target, bits)]
    sources = [path.name] + [words for words, _ in directives(text, "additional-sources")]
    return path.stem, bits, " ".join(sources), LISTINGS.sub("", " ".join(flags)).strip()


def programs_of(folder: Path) -> list[tuple[str, int, str, str]]:
    """All run tests, those of the same flags together."""
    found = [made for path in sorted(folder.glob("*.c")) if (made := program(path))]
    return sorted(found, key=lambda one: (one[1], one[3], one[0]))


def listed(rows: list[tuple[str, int, str, str]]) -> str:
    """What the recipe reads: two lines for each program."""
    users = Counter((bits, flags) for _, bits, _, flags in rows)
    shared = lambda bits, flags: "yes" if users[bits, flags] > 3 else "no"
    return "".join(f"{name} {bits} {shared(bits, flags)} {files}\n{flags}\n" for name, bits, files, flags in rows)


def sources(context: Context):
    def prepare(work: Path) -> None:
        folder = context.packages.alone("gcc-12-source") / FOLDER
        tar = next(folder.glob("gcc-12*.tar.xz"))
        # Some tests include one of these other folders.
        folders = [f"*/gcc/testsuite/{name}" for name in ("gcc.target/i386", "gcc.dg", "gcc.c-torture/execute")]
        subprocess.run(["tar", "-C", work, "--strip-components=3", "--wildcards", "-xf", tar, *folders], check=True)
        rows = programs_of(work / "gcc.target/i386")
        (work / "programs").write_text(listed(rows))
        asks = "".join(f'if (!__builtin_cpu_supports("{f}")) {{ puts("no {f}"); lacks = 1; }}\n' for f in FEATURES)
        (work / "features.c").write_text(CHECK.format(asks))

    return prepare


def run(context: Context) -> Report:
    report = Report("gcc")
    work = built(context, "gcc", BUILD, sources(context), 4 * 3600)
    wanted = re.compile(context.only or "")
    names = sorted(path.name for path in (work / "bin").iterdir() if wanted.match(path.name))
    report.unbuilt(work, wanted)
    programs = [Program(name, f"bin/{name}") for name in names]
    compare(context, report, work, programs, [f"bin/{name}" for name in names], "gcc", *context.kernels[:1], passes=True,
            native_of=lambda name, output: b"status 0\n" if name == "features" else output.replace(b"SKIPPED", b"PASSED"))
    return report
