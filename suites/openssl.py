"""OpenSSL's digests, ciphers, MACs, key derivations and signatures, by each of the paths that it has for x86's extensions.

The same commands are run five times, each time with fewer of CPUID's features to be seen (OPENSSL_ia32cap), so that the AVX-512,
AVX2, AVX, SSE and plain forms of each algorithm must agree with the host's processor. Source: openssl, OPENSSL_ia32cap(3).
"""
import re
from pathlib import Path

from programs import Program, built, compare
from report import Context, Report

PACKAGES = ["openssl"]
# Features that OpenSSL is not to see: leaf 1 ECX and EDX, leaf 7 EBX.
PATHS = {
    "avx512": ":",
    "avx2": ":~0xc0230000",  # without AVX-512 F, DQ, IFMA, BW, VL
    "avx": ":~0xe0230128",  # without AVX2, BMI, BMI2, SHA either
    "sse": "~0x1000100000000000:~0xe0230128",  # without AVX, FMA either
    "plain": "~0x1200120200000000:~0xe02b0128",  # without AES, PCLMULQDQ, SSSE3, ADX either
}
# Made once, on the host: what signs, and what is signed.
BUILD = r"""
set -e
o=/usr/bin/openssl
head -c 100003 /dev/zero | $o enc -aes-128-ctr -nosalt -K 00112233445566778899aabbccddeeff -iv 0f -out data
head -c 999 data > short
$o genrsa -traditional -out rsa.pem 2048 2> /dev/null
for curve in P-256 P-384 P-521 secp256k1 brainpoolP512r1; do $o genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$curve -out ec-$curve.pem; done
for kind in ED25519 ED448 X25519 X448; do $o genpkey -algorithm $kind -out $kind.pem; $o genpkey -algorithm $kind -out peer-$kind.pem; done
for name in ec-P-256 ec-P-384 ec-P-521; do $o genpkey -algorithm EC -pkeyopt ec_paramgen_curve:${name#ec-} -out peer-$name.pem; done
for key in peer-*.pem; do $o pkey -in $key -pubout -out ${key%.pem}.pub; done
for key in ec-*.pem; do $o dgst -sha256 -sign $key -out ${key%.pem}.sig data; done
"""
DIGESTS = r"""
for d in $(openssl list -digest-commands); do
	openssl dgst -$d data; openssl dgst -$d short; openssl dgst -provider legacy -provider default -$d -hmac key data
done 2>&1
"""
CIPHERS = r"""
K=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
legacy='-provider legacy -provider default'
openssl enc $legacy -list | tr ' ' '\n' | grep '^-' | grep -v 'wrap\|gcm\|ccm\|ocb\|siv\|cfb1' | while read c; do
	for file in data short; do
		openssl enc $legacy $c -K $K -iv 0f0e0d0c0b0a09080706050403020100 -in $file -out /tmp/enc > /dev/null 2>&1 || { echo "no $c"; break; }
		back=$(openssl enc $legacy -d $c -K $K -iv 0f0e0d0c0b0a09080706050403020100 -in /tmp/enc 2> /dev/null | sha256sum)
		[ "$back" = "$(sha256sum < $file)" ] && back=same
		echo "$c $file $(sha256sum < /tmp/enc) $back"
	done
done
"""
MACS = r"""
k=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
for c in AES-128-CBC AES-256-CBC CAMELLIA-128-CBC DES-EDE3-CBC; do
	length=32; case $c in *256*) length=64 ;; DES*) length=48 ;; esac
	openssl mac -cipher $c -macopt hexkey:$(echo $k | cut -c1-$length) -in data CMAC
done
for c in AES-128-GCM AES-256-GCM; do
	length=32; case $c in *256*) length=64 ;; esac
	for file in data short; do openssl mac -cipher $c -macopt hexkey:$(echo $k | cut -c1-$length) -macopt hexiv:0f0e0d0c0b0a0908 -in $file GMAC; done
done
openssl mac -macopt hexkey:$k -in data POLY1305; openssl mac -macopt hexkey:$k -in short POLY1305
openssl mac -macopt hexkey:$(echo $k | cut -c1-32) -in data SIPHASH
openssl mac -macopt hexkey:$k -in data KMAC-256
openssl kdf -keylen 64 -kdfopt digest:SHA512 -kdfopt key:secret -kdfopt salt:salt -kdfopt info:label HKDF
openssl kdf -keylen 64 -kdfopt pass:password -kdfopt salt:NaCl -kdfopt n:1024 -kdfopt r:8 -kdfopt p:16 -kdfopt maxmem_bytes:99999999 SCRYPT
openssl kdf -keylen 64 -kdfopt digest:SHA256 -kdfopt pass:password -kdfopt salt:saltsaltsaltsalt -kdfopt iter:4096 PBKDF2
"""
KEYS = r"""
sum() { sha256sum "$1" | cut -c1-64; }
for d in sha1 sha256 sha512 sha3-256; do openssl dgst -$d -sign rsa.pem -out /tmp/s data; echo rsa $d $(sum /tmp/s); done
openssl pkeyutl -decrypt -inkey rsa.pem -in /tmp/s > /dev/null 2>&1; echo not encrypted $?
openssl rsa -in rsa.pem -check -noout
for n in ED25519 ED448; do openssl pkeyutl -sign -rawin -inkey $n.pem -in short -out /tmp/s; echo $n $(sum /tmp/s); done
for key in ec-*.pem; do
	openssl dgst -sha256 -prverify $key -signature ${key%.pem}.sig data
	openssl dgst -sha256 -sign $key -out /tmp/s data; openssl dgst -sha256 -prverify $key -signature /tmp/s data
	openssl dgst -sha256 -prverify $key -signature /tmp/s short
done
for n in X25519 X448 ec-P-256 ec-P-384 ec-P-521; do
	openssl pkeyutl -derive -inkey $n.pem -peerkey peer-$n.pub -out /tmp/s && echo $n $(sum /tmp/s)
done
openssl prime 170141183460469231731687303715884105727 170141183460469231731687303715884105729 18446744073709551557
openssl prime -hex FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF
"""
SCRIPTS = {"digests": DIGESTS, "ciphers": CIPHERS, "macs": MACS, "keys": KEYS}


def run(context: Context) -> Report:
    report = Report("openssl")
    work = built(context, "openssl", BUILD, packages=PACKAGES)
    for name, script in SCRIPTS.items():
        (work / f"{name}.sh").write_text(script)
    wanted = re.compile(context.only or "")
    programs = [Program(f"{name}-{path}", f"OPENSSL_ia32cap={mask} sh ./{name}.sh 2>&1", 300)
                for path, mask in PATHS.items() for name in SCRIPTS if wanted.match(f"{name}-{path}")]
    files = sorted(path.name for path in work.iterdir() if path.is_file() and not path.name.startswith("."))
    compare(context, report, work, programs, files, "openssl", *context.kernels[:1], passes=True, packages=PACKAGES)
    return report
