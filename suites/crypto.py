"""The kernel tests every cipher, hash and compressor that it registers: all modules of crypto and arch/x86/crypto.

The modules of the package are loaded one by one; /proc/crypto says of every algorithm whether its self-test passed. Then
tcrypt asks for every template that the kernel has test vectors of, which makes and tests the combinations.
"""
import re

from guest import boot, suite_image
from report import Context, Report

MAIN = r"""
dmesg -n 1
for module in $(cat /suite/modules); do said=$(modprobe "$module" 2>&1) || echo "refused $module $said"; done
echo "registered $(grep -c '^selftest' /proc/crypto)"
[ -e /suite/tcrypt ] && modprobe tcrypt 2> /dev/null
awk '/^driver/ { driver = $3 } /^selftest/ { print "selftest", driver, $3 }' /proc/crypto | sort
dmesg | sed -n 's/^\[[^]]*\] /log /; /log alg: /p; /log .*[Ss]elf-test/p; /log .*[Jj]itter/p'
"""
# Modules of these folders register something with a self-test.
FOLDERS = ("kernel/crypto/", "kernel/arch/x86/crypto/")
# `--only short`: what has instructions of its own.
SHORT = ("kernel/arch/x86/crypto/",)


def run(context: Context) -> Report:
    report = Report("crypto")
    for kernel in context.kernels or ["6.1", "6.12"]:
        one(context, kernel, report)
    return report


def one(context: Context, kernel: str, report: Report) -> None:
    image = suite_image(context.packages, MAIN)
    wanted = lambda path: path.startswith(SHORT if context.only == "short" else FOLDERS)
    modules = image.modules(context.packages.kernel(kernel), wanted)
    names = [name for name in modules if name != "tcrypt"]
    image.file("suite/modules", "\n".join(names))
    if context.only != "short":
        image.file("suite/tcrypt", "")
    result = boot(context.machine, context.packages, kernel, image.bytes(), f"crypto-{kernel}", seconds=1800)
    tests = dict(re.findall(r"^selftest (\S+) (\S+)$", "\n".join(result.lines), re.MULTILINE))
    passed = sum(state == "passed" for state in tests.values())
    report.passed += passed
    report.lines += len(tests)
    report.failed += [f"{kernel}: {name}: {state}" for name, state in tests.items() if state != "passed"]
    # A test that tcrypt asks for fails with -2 (ENOENT) where the kernel has no such algorithm.
    absent = set(re.findall(r"^log alg: \w+: failed to allocate transform for (\S+): -2$", "\n".join(result.lines), re.MULTILINE))
    report.skipped += [f"{kernel}: the kernel lacks {', '.join(sorted(absent))}"] if absent else []
    failures = {line for line in result.lines if re.match(r"log alg: .*fail", line) and not re.search(r"(: -2|rc=-2\))$", line)}
    report.failed += [f"{kernel}: {line}" for line in sorted(failures)]
    report.failed += [f"{kernel}: {problem}" for problem in [result.trouble()] if problem]
    report.failed += [f"{kernel}: {line}" for line in result.bad()]
    report.failed += [] if tests else [f"{kernel}: no self-test ran"]
    refused = [line.split()[1] for line in result.lines if line.startswith("refused ")]
    known = report.known()
    report.skipped += [f"{kernel}: {name}: {known.skip(f'{kernel}:{name}')}" for name in refused if known.skip(f"{kernel}:{name}")]
    report.failed += [f"{kernel}: the module {name} does not load" for name in refused if not known.skip(f"{kernel}:{name}")]
    registered = next((line.split()[1] for line in result.lines if line.startswith("registered ")), "none")
    report.figures.append(f"{kernel}: {passed} of {len(tests)} self-tests passed ({registered} of what {len(names)} modules "
                          f"register, the rest on request), {result.cpu_s:.0f} s of CPU")
