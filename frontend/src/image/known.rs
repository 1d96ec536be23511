//! The package files of the release as they were when this was written: what the error of a host without network lists.
//!
//! Newer versions do as well. Source: Debian's package lists of bookworm and bookworm-security, November 2026.

/// Package name (of a kernel: what it begins with) and file.
#[rustfmt::skip] // a table
const FILES: &[(&str, &str)] = &[
    ("busybox-static",   "busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb"),
    ("libbabeltrace1",   "libbabeltrace1_1.5.11-1+b2_amd64.deb"),
    ("libblkid1",        "libblkid1_2.38.1-5+deb12u3_amd64.deb"),
    ("libbz2-1.0",       "libbz2-1.0_1.0.8-5+b1_amd64.deb"),
    ("libc6",            "libc6_2.36-9+deb12u14_amd64.deb"),
    ("libcap2",          "libcap2_1%3a2.66-4+deb12u3+b1_amd64.deb"),
    ("libcrypt1",        "libcrypt1_1%3a4.4.33-2_amd64.deb"),
    ("libdb5.3",         "libdb5.3_5.3.28+dfsg2-1_amd64.deb"),
    ("libdw1",           "libdw1_0.188-2.1_amd64.deb"),
    ("libelf1",          "libelf1_0.188-2.1_amd64.deb"),
    ("libexpat1",        "libexpat1_2.5.0-1+deb12u5_amd64.deb"),
    ("libffi8",          "libffi8_3.4.4-1_amd64.deb"),
    ("libgcc-s1",        "libgcc-s1_12.2.0-14+deb12u1_amd64.deb"),
    ("libgdbm-compat4",  "libgdbm-compat4_1.23-3_amd64.deb"),
    ("libgdbm6",         "libgdbm6_1.23-3_amd64.deb"),
    ("libglib2.0-0",     "libglib2.0-0_2.74.6-2+deb12u9_amd64.deb"),
    ("liblzma5",         "liblzma5_5.4.1-1+deb12u2_amd64.deb"),
    ("libmount1",        "libmount1_2.38.1-5+deb12u3_amd64.deb"),
    ("libnuma1",         "libnuma1_2.0.16-1_amd64.deb"),
    ("libopencsd1",      "libopencsd1_1.3.3-1_amd64.deb"),
    ("libpcre2-8-0",     "libpcre2-8-0_10.42-1+deb12u2_amd64.deb"),
    ("libperl5.36",      "libperl5.36_5.36.0-7+deb12u4_amd64.deb"),
    ("libpython3.11",    "libpython3.11_3.11.2-6+deb12u9_amd64.deb"),
    ("libselinux1",      "libselinux1_3.4-1+b6_amd64.deb"),
    ("libslang2",        "libslang2_2.3.3-3_amd64.deb"),
    ("libstdc++6",       "libstdc++6_12.2.0-14+deb12u1_amd64.deb"),
    ("libunwind8",       "libunwind8_1.6.2-3_amd64.deb"),
    ("libuuid1",         "libuuid1_2.38.1-5+deb12u3_amd64.deb"),
    ("libzstd1",         "libzstd1_1.5.4+dfsg2-5_amd64.deb"),
    ("linux-image-6.1",  "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb"),
    ("linux-image-6.12", "linux-image-6.12.117+deb12-cloud-amd64_6.12.117-1~deb12u1_amd64.deb"),
    ("linux-perf",       "linux-perf_6.1.192-2_amd64.deb"),
    ("zlib1g",           "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb"),
];

/// The libraries that a program of a package needs, by package.
pub fn libraries(package: &str) -> impl Iterator<Item = &'static str> {
    let of_perf = FILES.iter().map(|(name, _)| *name).filter(|name| super::shelf::is_library(name));
    of_perf.filter(move |_| package == "linux-perf")
}

/// The file of package `name`, as far as it is known.
pub fn file(name: &str) -> String {
    let known = FILES.iter().find(|(known, _)| *known == name).map(|(_, file)| (*file).to_owned());
    known.unwrap_or_else(|| format!("{name}_VERSION_amd64.deb"))
}
