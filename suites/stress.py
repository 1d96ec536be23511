"""stress-ng with --verify: every method of the CPU, vector, memory, matrix, string and hash stressors, a fixed amount of each.

Each method is a run of its own and must end with 0; none may be skipped but by the list of known ones. No oracle is needed:
the stressors check their own results. A method `all` only takes turns through the others and is left out.
"""
import native
from guest import boot, suite_image
from report import Context, Report

TREE = ["busybox-static", "dash", "stress-ng"]
# Stressors with methods, and what they are given besides; then those without. An operation of `vm` is a byte or all of the
# memory, as the method likes: each has a second, which in the guest is a number of instructions, too.
METHODS = {"cpu": "", "vecfp": "", "vecshuf": "", "vm": "--vm-bytes 64k --vm-ops 100000000 --timeout 1",
           "matrix": "--matrix-size 64",
           "matrix-3d": "--matrix-3d-size 16", "str": "", "wcs": "", "hash": "", "zlib": "", "memcpy": "", "funccall": "",
           "funcret": ""}
SINGLE = ("vecmath vecwide fp atomic branch bsearch context crypt dekker fork futex goto heapsort hsearch icache jpeg judy "
          "lockbus longjmp lsearch malloc memfd mergesort mmap mremap nop peterson pipe poll prefetch qsort radixsort "
          "randlist rdrand regs rotate shellsort sigfpe sigsegv sigsuspend sigtrap skiplist sparsematrix stack switch syscall "
          "tlb-shootdown tree tsc tsearch vdso vfork waitcpu x86cpuid zero").split()
# What takes minutes natively at its usual size, or has more than two operations to go through.
SIZES = {"mmap": "--mmap-bytes 4m", "tree": "--tree-size 1000", "lsearch": "--lsearch-size 1024", "mremap": "--mremap-bytes 4m",
         "memfd": "--memfd-bytes 4m", "fp": "--fp-ops 200", "vecwide": "--vecwide-ops 20", "vecmath": "--vecmath-ops 20"}
VECTOR = ["vecfp", "vecshuf", "vecmath", "vecwide"]
MAIN = r"""
while read -r name arguments; do
	if timeout -s KILL 30 stress-ng $arguments --verify --oomable --seed 1 --temp-path /tmp > log 2>&1; then
		if grep -q -i 'skipped: 1\|not implemented\|skipping stressor' log; then echo "skipped $name"; else echo "passed $name"; fi
	else
		echo "failed $name"
		grep -v 'dispatching\|defaulting' log | sed 's/^/said /'
	fi
done < /suite/list
"""


def run(context: Context) -> Report:
    report = Report("stress")
    tree = context.packages.tree("stress", TREE)
    rows = [row for group in groups(context) for row in methods(context, tree, group)]
    image = suite_image(context.packages, MAIN, [tree])
    image.file("suite/list", "".join(f"{name} {arguments}\n" for name, arguments in rows), 0o644)
    kernel = (context.kernels or ["6.1-cloud"])[0]
    run = boot(context.machine, context.packages, kernel, image.bytes(), "stress", cpus=(context.cpus or [1])[0], seconds=7200)
    states = {line.split()[1]: line.split()[0] for line in run.lines if line.startswith(("passed ", "failed ", "skipped "))}
    known = report.known()
    report.passed = sum(state == "passed" for state in states.values())
    report.lines = len(states)
    for name, state in states.items():
        if state == "skipped" and known.skip(name):
            report.skipped.append(f"{name}: {known.skip(name)}")
        elif state != "passed":
            report.failed.append(f"{name}: {state}")
    report.failed += [f"{name}: not run" for name, _ in rows if name not in states]
    report.failed += [problem for problem in [run.trouble()] if problem]
    report.figures.append(f"{len(rows)} methods and stressors on {kernel}, {run.cpu_s:.0f} s of CPU")
    return report


def groups(context: Context) -> list[str]:
    """All, or those of `--only A,B`; `vector` stands for the vector stressors, `single` for those without methods."""
    names = context.only.split(",") if context.only else [*METHODS, "single"]
    return [one for name in names for one in (VECTOR if name == "vector" else [name])]


def methods(context: Context, tree, group: str) -> list[tuple[str, str]]:
    """Name and arguments of each run of a group; the program itself lists its methods."""
    if group not in METHODS:
        names = SINGLE if group == "single" else [group]
        return [(name, f"--{name} 1 --{name}-ops 2 {SIZES.get(name, '')}") for name in names]
    said, _ = native.run(tree, context.cache, f"stress-ng --{group} 1 --{group}-method which 2>&1 || true")
    named = [name for name in said.decode(errors="replace").split(":")[-1].split() if name != "all"]
    return [(f"{group}-{name}", f"--{group} 1 --{group}-method {name} --{group}-ops 2 {METHODS[group]}") for name in named]
