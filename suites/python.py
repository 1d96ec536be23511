"""Python's own tests of what computes: numbers, bytes and text, compressors, hashes, containers, the language, ctypes, threads.

Modules of Lib/test, some in a process; the verdict of every test is compared with the host's. Left out is what takes minutes or
waits, most of the library and the network. Source: CPython 3.11, Lib/test.
"""
import re

from programs import Program, built, compare
from report import Context, Report

PACKAGES = ["python3.11", "libpython3.11-testsuite", "libpython3.11-stdlib"]
GROUPS = {
    "numbers": "math cmath float complex long int int_literal fractions numeric_tower pow bool binop unary index range random "
               "strtod colorsys audioop hash",
    "bytes": "array struct binascii base64 bytes memoryview zlib hashlib hmac uu quopri memoryio fileio",
    "text": "codecs unicode ucn format fstring string re textwrap difflib json csv",
    "containers": "list dict set tuple deque heapq bisect sort itertools slice enumerate defaultdict ordered_dict iter",
    "language": "builtin generators coroutines exceptions functools grammar decorators dataclasses enum "
                "isinstance call scope super",
    "system": "ctypes mmap thread fcntl datetime time locale pwd",
}
# A verdict is the end of a line; docstrings, times and addresses are not compared.
RUN = (r"""python3.11 -m test -v --randseed 1 {} > /tmp/out 2>&1; s=$?; """
       r"""grep '^test.* \.\.\. \(ok\|FAIL\|ERROR\|skipped.*\|expected failure\)$\|^Ran \|^FAIL\|^ERROR' /tmp/out """
       r"""| sed 's/^\(Ran .* tests*\) in .*/\1/; s/0x[0-9a-f]*/N/g' | sort; exit $s""")


def command(modules: str) -> str:
    return RUN.format(" ".join(f"test_{name}" for name in modules.split()))


def run(context: Context) -> Report:
    report = Report("python")
    work = built(context, "python", "true", packages=PACKAGES)
    wanted = re.compile(context.only or "")
    programs = [Program(name, command(modules), 600) for name, modules in GROUPS.items() if wanted.match(name)]
    compare(context, report, work, programs, [], "python", *context.kernels[:1], mem=3072, seconds=7200, packages=PACKAGES)
    return report
