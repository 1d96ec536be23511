//! Images made without a network, from small packages made here; the real ones are booted by `debian.rs`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use frontend::image::{self, Image, ImageError, Options};

/// Files of a package: path, mode, content.
type Files<'a> = &'a [(&'a str, u32, &'a str)];

const KERNEL: Files = &[
    ("./boot/vmlinuz-6.1.0-1-cloud-amd64", 0o644, "a kernel"),
    ("./lib/modules/6.1.0-1-cloud-amd64/kernel/fs/other.ko", 0o644, "no module that is asked for"),
];
const BUSYBOX: Files = &[("./bin/busybox", 0o755, "a program"), ("./usr/share/doc/busybox-static/x", 0o644, "words")];

fn tar(files: Files) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, mode, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn package(folder: &Path, name: &str, more: &str, files: Files) {
    let control = format!("Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\n{more}Description: made for a test\n");
    let file = File::create(folder.join(format!("{name}_1.0-1_amd64.deb"))).unwrap();
    let mut deb = ar::Builder::new(file);
    let mut member = |name: &str, bytes: &[u8]| {
        deb.append(&ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64), bytes).unwrap();
    };
    member("debian-binary", b"2.0\n");
    member("control.tar.gz", &tar(&[("./control", 0o644, &control)]));
    member("data.tar.gz", &tar(files));
}

fn options(folder: &Path, cache: &Path, with: &[&str]) -> Options {
    Options {
        kernel: "6.1".to_owned(),
        with: with.iter().map(|w| (*w).to_owned()).collect(),
        offline: Some(folder.to_owned()),
        cache: Some(cache.to_owned()),
        refresh: false,
    }
}

fn made(folder: &Path, cache: &Path, with: &[&str]) -> Result<Image, ImageError> {
    image::debian(&options(folder, cache, with), &mut |_| {})
}

/// Names in a newc archive, in order.
fn names(archive: &[u8]) -> Vec<String> {
    let (mut names, mut rest) = (Vec::new(), archive);
    loop {
        let reader = cpio::newc::Reader::new(rest).unwrap();
        if reader.entry().is_trailer() {
            return names;
        }
        names.push(reader.entry().name().to_owned());
        assert_eq!(reader.entry().mtime(), 0);
        rest = reader.finish().unwrap();
    }
}

fn scene() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let top = tempfile::tempdir().unwrap();
    let (folder, cache) = (top.path().join("debs"), top.path().join("cache"));
    fs::create_dir(&folder).unwrap();
    package(&folder, "linux-image-6.1.0-1-cloud-amd64", "", KERNEL);
    package(&folder, "busybox-static", "", BUSYBOX);
    (top, folder, cache)
}

#[test]
fn an_image_is_made_offline_and_found_again() {
    let (_top, folder, cache) = scene();
    assert_eq!(image::debian_cached("6.1", Some(&cache)), None);
    let image = made(&folder, &cache, &["none"]).unwrap();
    assert_eq!(fs::read_to_string(&image.kernel).unwrap(), "a kernel");
    assert_eq!(image.packages, "busybox-static 1.0-1\nlinux-image-6.1.0-1-cloud-amd64 1.0-1\n");
    let names = names(&fs::read(&image.initrd).unwrap());
    assert!(names.is_sorted());
    for name in ["bin", "init", "usr/bin/busybox", "usr/bin/sh", "usr/lib/modules/6.1.0-1-cloud-amd64/modules.dep"] {
        assert!(names.iter().any(|n| n == name), "{name} among {names:?}");
    }
    assert_eq!(image::debian_cached("6.1", Some(&cache)), Some(image));
    assert_eq!(image::debian_cached("6.12", Some(&cache)), None);
}

#[test]
fn the_same_packages_give_the_same_bytes() {
    let (top, folder, cache) = scene();
    let first = made(&folder, &cache, &[]).unwrap();
    let second = made(&folder, &top.path().join("another"), &[]).unwrap();
    assert_eq!(fs::read(first.initrd).unwrap(), fs::read(second.initrd).unwrap());
}

#[test]
fn a_package_comes_whole_but_for_its_papers_and_with_what_it_depends_on() {
    let (_top, folder, cache) = scene();
    package(
        &folder,
        "hello",
        "Depends: libhello (>= 1)\n",
        &[("./usr/bin/hello", 0o755, "#!"), ("./usr/share/man/a", 0o644, "b")],
    );
    package(&folder, "libhello", "", &[("./usr/lib/libhello.so", 0o644, "x")]);
    let image = made(&folder, &cache, &["hello"]).unwrap();
    let names = names(&fs::read(&image.initrd).unwrap());
    assert!(names.contains(&"usr/bin/hello".to_owned()) && names.contains(&"usr/lib/libhello.so".to_owned()));
    assert!(!names.iter().any(|n| n.starts_with("usr/share")), "{names:?}");
}

#[test]
fn a_folder_that_lacks_packages_is_answered_with_their_file_names() {
    let (_top, folder, cache) = scene();
    fs::remove_file(folder.join("busybox-static_1.0-1_amd64.deb")).unwrap();
    package(&folder, "hello", "Depends: libhello\n", &[]);
    let Err(ImageError::Wanted { files, .. }) = made(&folder, &cache, &["hello"]) else { panic!("it was made") };
    assert_eq!(files, ["busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb", "libhello_VERSION_amd64.deb"]);
    let Err(ImageError::Wanted { files, .. }) = made(&folder, &cache, &["perf"]) else { panic!("it was made") };
    assert!(files.contains(&"linux-perf_6.1.192-2_amd64.deb".to_owned()), "{files:?}");
    assert!(files.contains(&"libdw1_0.188-2.1_amd64.deb".to_owned()), "{files:?}");
}

#[test]
fn damaged_packages_and_unknown_kernels_are_refused() {
    let (_top, folder, cache) = scene();
    let mut unknown = options(&folder, &cache, &[]);
    unknown.kernel = "7.7".to_owned();
    let error = image::debian(&unknown, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "no Debian kernel is called `7.7`");
    let whole = fs::read(folder.join("busybox-static_1.0-1_amd64.deb")).unwrap();
    for bytes in [0, 7, 8, 70, 150, whole.len() / 2, whole.len() - 9] {
        let mut file = File::create(folder.join("busybox-static_1.0-1_amd64.deb")).unwrap();
        file.write_all(&whole[..bytes]).unwrap();
        let error = made(&folder, &cache, &[]).unwrap_err();
        assert!(matches!(error, ImageError::NotAPackage { .. }), "{bytes} bytes: {error}");
    }
}
