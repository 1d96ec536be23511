"""Python's own tests of what computes: numbers, strings, compressors, hashes, containers, threads, signals, files.

Each module of Lib/test runs by itself, and every test's verdict is compared with the host's. Source: CPython 3.11, Lib/test.
"""
import re

from programs import Program, built, compare
from report import Context, Report

PACKAGES = ["python3.11", "libpython3.11-testsuite", "libpython3.11-stdlib"]
MODULES = """
	abc array ast asyncgen audioop augassign base64 bigmem binascii binop bisect bool buffer builtin bytes bz2 calendar call
	charmapcodec class cmath codecs colorsys compare complex configparser contains copy coroutines crypt csv ctypes dataclasses
	datetime decorators defaultdict deque descr dict dictcomps difflib enum enumerate exceptions fcntl fileio float fork1
	format fractions frozen fstring functools generators grammar hash hashlib heapq hmac html index int
	int_literal io isinstance iter itertools json keyword list locale long longexp lzma math memoryio
	memoryview minidom mmap module multibytecodec numeric_tower opcodes operator ordered_dict os pickle pipes poll pow
	pprint print property pulldom pwd queue quopri raise random range re richcmp rlcompleter sax scope select set shelve
	shlex slice sort statistics strftime string string_literals struct strtod subclassinit super symtable sys_setprofile
	syntax tempfile textwrap thread threading time timeit tokenize tuple types ucn unary unicode unicodedata
	unpack urlparse userdict userlist userstring uu uuid wait3 wait4 weakref weakset with xml_etree yield_from zipfile zlib
""".split()
# A verdict is the end of a line; docstrings, times and addresses are not compared.
RUN = (r"""python3.11 -m test -v --randseed 1 test_{} > /tmp/out 2>&1; s=$?; """
       r"""grep '^test.* \.\.\. \(ok\|FAIL\|ERROR\|skipped.*\|expected failure\)$\|^Ran \|^FAIL\|^ERROR' /tmp/out """
       r"""| sed 's/^\(Ran .* tests*\) in .*/\1/; s/0x[0-9a-f]*/N/g' | sort; exit $s""")


def run(context: Context) -> Report:
    report = Report("python")
    work = built(context, "python", "true", packages=PACKAGES)
    wanted = re.compile(context.only or "")
    names = [name for name in MODULES if wanted.match(name)]
    programs = [Program(name, RUN.format(name), 300) for name in names]
    compare(context, report, work, programs, [], "python", *context.kernels[:1], mem=3072, seconds=7200, packages=PACKAGES)
    return report
