//! A guest that anyone can get: Debian's stock cloud kernel and an initramfs made of Debian's packages.
//!
//! Packages come by name through the host's own package client ([`apt`]) or out of a folder ([`shelf`]); they are
//! unpacked in process ([`deb`]) into a [`tree`], from which busybox, the chosen programs and the chosen kernel
//! [`modules`] are packed ([`initramfs`]) with our own init (`init.sh`). Nothing of it is kept in this repository: the
//! kernel and busybox are under the GPL and larger than a crate may be.
//!
//! The cache (`--cache`, else `UNHALTED_CACHE`, else `unhalted` in the XDG cache folder) holds `debs/` (package files),
//! `apt/` (package lists) and `debian/KERNEL/SET/` with `vmlinuz`, `initrd.cpio`, `packages` (names and versions) and
//! `recipe` (what the image was made by: an image of another recipe is made anew). `debian/KERNEL/current` names the set
//! that `unhalted run debian` boots. Same packages, same bytes.

pub mod apt;
mod bar;
pub mod deb;
mod error;
pub mod initramfs;
mod known;
pub mod modules;
pub mod shelf;
pub mod tree;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use apt::{Apt, Offer};
pub use bar::bar;
use deb::Deb;
pub use error::ImageError;
use error::host;
use modules::Modules;
use shelf::{Shelf, is_library};
use tree::{Node, Tree};

/// The Debian release that packages are taken from.
const SUITE: &str = "bookworm";

/// The release's kernels: the name users give, the package that stands for the newest of it, and what the names of the
/// real packages begin with.
const KERNELS: [(&str, &str, &str); 2] = [
    ("6.1", "linux-image-cloud-amd64", "linux-image-6.1"),
    ("6.12", "linux-image-6.12-cloud-amd64", "linux-image-6.12"),
];

/// Modules that init loads where the kernel has them as modules (6.1 has all of virtio so, 6.12 only some).
const MODULES: [&str; 7] = ["virtio_pci", "virtio_console", "virtio_rng", "virtio_blk", "virtio_net", "msr", "cpuid"];

/// Programs that can be had by their own name with only the libraries they need: name, package, path.
const PROGRAMS: [(&str, &str, &str); 1] = [("perf", "linux-perf", "usr/bin/perf")];

/// Where packages keep what a small guest does not need.
const LEFT_OUT: [&str; 7] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/lintian/",
    "usr/share/bug/",
    "usr/share/doc-base/",
];

const INIT: &str = include_str!("init.sh");

/// What image to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel: `6.1` or `6.12`.
    pub kernel: String,
    /// What comes besides busybox: `perf` for that program alone, or Debian packages, which come whole and with what
    /// they depend on. `none` and the empty name stand for nothing.
    pub with: Vec<String>,
    /// Take package files from this folder and leave the network alone.
    pub offline: Option<PathBuf>,
    /// Keep everything here instead of in the user's cache folder.
    pub cache: Option<PathBuf>,
    /// Make the image anew from the newest packages although it is in the cache.
    pub refresh: bool,
}

/// An image in the cache, ready to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The bzImage.
    pub kernel: PathBuf,
    /// The initramfs: an uncompressed cpio archive.
    pub initrd: PathBuf,
    /// The kernel command line to boot it with; `run="COMMAND"` and the like may be appended.
    pub append: String,
    /// What is in it, a line `NAME VERSION` for each package.
    pub packages: String,
}

/// What is going on, for those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A step has begun.
    Step(String),
    /// Packages are being fetched.
    Fetch {
        /// How many files.
        files: usize,
        /// Bytes that have come.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// The names of the kernels that can be had.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|(name, ..)| *name)
}

/// Makes the image that `options` describe, or finds it in the cache, and makes it the one that `run debian` boots.
///
/// # Errors
/// Packages cannot be had (the error then lists the files wanted), or the host's file system refuses.
pub fn debian(options: &Options, tell: &mut dyn FnMut(Progress)) -> Result<Image, ImageError> {
    let order = Order::of(options)?;
    if !options.refresh && order.is_made() {
        order.make_current()?;
        return order.image();
    }
    let shelf = match &options.offline {
        Some(folder) => Shelf::of_folder(folder)?,
        None => fetch(&order, tell)?,
    };
    let chosen = order.choose(&shelf)?;
    order.make(&chosen, tell)?;
    order.make_current()?;
    order.image()
}

/// The image of `kernel` that [`debian`] was last asked for, if the cache still holds it.
pub fn debian_cached(kernel: &str, cache: Option<&Path>) -> Option<Image> {
    let home = cache_folder(cache).ok()?.join("debian").join(kernel);
    let set = fs::read_to_string(home.join("current")).ok()?;
    let order = Order { set: set.trim().to_owned(), home, ..Order::default() };
    order.is_made().then(|| order.image().ok()).flatten()
}

/// The package files that the image of `options` is made of, as the archive offers them today.
///
/// # Errors
/// As [`debian`].
pub fn list(options: &Options, tell: &mut dyn FnMut(Progress)) -> Result<Vec<Offer>, ImageError> {
    let order = Order::of(options)?;
    let Some(folder) = &options.offline else { return plan(&order, tell).map(|(_, offers)| offers) };
    let shelf = Shelf::of_folder(folder)?;
    let chosen = order.choose(&shelf)?;
    let offer = |deb: &&Deb| {
        let file = deb.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Offer { file, bytes: fs::metadata(&deb.path).map(|m| m.len()).unwrap_or_default() }
    };
    Ok(chosen.all().iter().map(offer).collect())
}

/// An image asked for, worked out.
#[derive(Default)]
struct Order {
    meta: &'static str,
    prefix: &'static str,
    programs: Vec<(&'static str, &'static str)>,
    whole: Vec<String>,
    set: String,
    home: PathBuf,
    debs: PathBuf,
    cache: PathBuf,
}

/// The packages that an image is made of.
struct Chosen<'a> {
    kernel: &'a Deb,
    busybox: &'a Deb,
    libraries: Vec<&'a Deb>,
    whole: Vec<&'a Deb>,
}

impl<'a> Chosen<'a> {
    fn all(&self) -> Vec<&'a Deb> {
        let mut all: Vec<&Deb> = [self.kernel, self.busybox].into_iter().chain(self.libraries.clone()).chain(self.whole.clone()).collect();
        all.sort_by(|a, b| a.package.cmp(&b.package));
        all.dedup_by(|a, b| a.package == b.package);
        all
    }
}

impl Order {
    fn of(options: &Options) -> Result<Self, ImageError> {
        let known = || kernels().collect::<Vec<_>>().join(", ");
        let (name, meta, prefix) = KERNELS
            .into_iter()
            .find(|(name, ..)| *name == options.kernel)
            .ok_or_else(|| ImageError::UnknownKernel { name: options.kernel.clone(), known: known() })?;
        let cache = cache_folder(options.cache.as_deref())?;
        let with: BTreeSet<&str> = options.with.iter().map(|w| w.trim()).filter(|w| !w.is_empty() && *w != "none").collect();
        let program = |name: &&str| PROGRAMS.iter().find(|(n, ..)| n == name).map(|(_, package, path)| (*package, *path));
        let set = ["busybox"].into_iter().chain(with.iter().copied()).collect::<Vec<_>>().join("+");
        Ok(Self {
            meta,
            prefix,
            programs: with.iter().filter_map(program).collect(),
            whole: with.iter().filter(|name| program(name).is_none()).map(|name| (*name).to_owned()).collect(),
            set,
            home: cache.join("debian").join(name),
            debs: cache.join("debs"),
            cache,
        })
    }

    fn folder(&self) -> PathBuf {
        self.home.join(&self.set)
    }

    fn is_made(&self) -> bool {
        fs::read_to_string(self.folder().join("recipe")).is_ok_and(|made| made == recipe())
    }

    fn image(&self) -> Result<Image, ImageError> {
        let (folder, packages) = (self.folder(), self.folder().join("packages"));
        Ok(Image {
            kernel: folder.join("vmlinuz"),
            initrd: folder.join("initrd.cpio"),
            append: "console=ttyS0,115200 nokaslr panic=-1".to_owned(),
            packages: fs::read_to_string(&packages).map_err(host("read", &packages))?,
        })
    }

    fn make_current(&self) -> Result<(), ImageError> {
        let path = self.home.join("current");
        fs::write(&path, &self.set).map_err(host("write", &path))
    }

    /// The names of the packages to fetch besides the kernel.
    fn names(&self) -> Vec<&str> {
        let programs = self.programs.iter().map(|(package, _)| *package);
        ["busybox-static"].into_iter().chain(programs).chain(self.whole.iter().map(String::as_str)).collect()
    }

    /// Picks the packages from `shelf`.
    fn choose<'a>(&self, shelf: &'a Shelf) -> Result<Chosen<'a>, ImageError> {
        let mut missing = BTreeSet::new();
        let mut libraries = Vec::new();
        for (package, _) in &self.programs {
            libraries.extend(shelf.closure(package, is_library, &mut missing));
        }
        let mut whole = Vec::new();
        for package in &self.whole {
            whole.extend(shelf.closure(package, |_| true, &mut missing));
        }
        let (kernel, busybox) = (shelf.kernel(self.prefix), shelf.get("busybox-static"));
        match (kernel, busybox) {
            (Some(kernel), Some(busybox)) if missing.is_empty() => Ok(Chosen { kernel, busybox, libraries, whole }),
            _ => {
                missing.extend(kernel.is_none().then(|| self.prefix.to_owned()));
                missing.extend(busybox.is_none().then(|| "busybox-static".to_owned()));
                let programs = self.programs.iter().filter(|(package, _)| missing.contains(*package));
                let more: Vec<&str> = programs.flat_map(|(package, _)| known::libraries(package)).collect();
                missing.extend(more.into_iter().filter(|name| shelf.get(name).is_none()).map(str::to_owned));
                let files = missing.iter().map(|name| known::file(name)).collect();
                Err(ImageError::Wanted { cause: "the folder lacks packages".to_owned(), files })
            }
        }
    }

    /// Makes the image's folder: beside it first, so that a half-made one is never taken for whole.
    fn make(&self, chosen: &Chosen<'_>, tell: &mut dyn FnMut(Progress)) -> Result<(), ImageError> {
        let (folder, partial) = (self.folder(), self.home.join(format!("{}.{}", self.set, std::process::id())));
        fs::create_dir_all(&partial).map_err(host("make", &partial))?;
        tell(Progress::Step(format!("unpacking {}", chosen.kernel.package)));
        let mut kernel = Tree::merged_usr();
        chosen.kernel.unpack(|path| path.starts_with("boot/") || path.starts_with("usr/lib/modules/"), &mut kernel)?;
        let vmlinuz = kernel.iter().find(|(path, _)| path.starts_with("boot/vmlinuz-")).and_then(|(path, _)| kernel.bytes(path));
        let vmlinuz = vmlinuz.ok_or_else(|| content(&chosen.kernel.package, "boot/vmlinuz"))?;
        tell(Progress::Step(format!("packing {} packages", chosen.all().len())));
        let tree = self.fill(chosen, &kernel)?;
        let write = |name: &str, bytes: &[u8]| {
            let path = partial.join(name);
            fs::write(&path, bytes).map_err(host("write", &path))
        };
        write("vmlinuz", vmlinuz)?;
        let path = partial.join("initrd.cpio");
        let file = File::create(&path).map_err(host("write", &path))?;
        initramfs::pack(&tree, BufWriter::new(file)).map_err(host("write", &path))?;
        let packages: String = chosen.all().iter().map(|deb| format!("{} {}\n", deb.package, deb.version)).collect();
        write("packages", packages.as_bytes())?;
        write("recipe", recipe().as_bytes())?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(host("remove the old", &folder))?;
        }
        fs::rename(&partial, &folder).map_err(host("make", &folder))
    }

    /// The tree of the initramfs.
    fn fill(&self, chosen: &Chosen<'_>, kernel: &Tree) -> Result<Tree, ImageError> {
        let mut tree = Tree::merged_usr();
        for deb in &chosen.whole {
            deb.unpack(|path| !LEFT_OUT.iter().any(|out| path.starts_with(out)), &mut tree)?;
        }
        let mut pool = Tree::merged_usr();
        for deb in &chosen.libraries {
            deb.unpack(|path| path.starts_with("usr/lib") || path.starts_with("usr/bin/"), &mut pool)?;
        }
        let mut missing = Vec::new();
        for (package, path) in &self.programs {
            tree.copy_program(&pool, path, &mut missing);
            if let Some(first) = missing.first() {
                return Err(content(package, first));
            }
        }
        let mut busybox = Tree::merged_usr();
        chosen.busybox.unpack(|path| path == "usr/bin/busybox", &mut busybox)?;
        tree.copy_program(&busybox, "usr/bin/busybox", &mut missing);
        if !missing.is_empty() {
            return Err(content(&chosen.busybox.package, "usr/bin/busybox"));
        }
        if tree.get("usr/bin/sh").is_none() {
            tree.put("usr/bin/sh", Node::Link("busybox".to_owned()));
        }
        let Modules { load, .. } = modules::copy(kernel, &MODULES, &mut tree)?;
        tree.text("etc/modules", &load.iter().map(|name| format!("{name}\n")).collect::<String>());
        tree.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        tree.text("etc/group", "root:x:0:\n");
        tree.put("init", Node::File { mode: 0o755, bytes: INIT.as_bytes().to_vec() });
        for folder in ["dev", "proc", "sys", "tmp", "run", "root", "mnt"] {
            tree.folder(folder);
        }
        Ok(tree)
    }
}

/// Fetches the packages of `order` and opens them.
fn fetch(order: &Order, tell: &mut dyn FnMut(Progress)) -> Result<Shelf, ImageError> {
    let (apt, offers) = plan(order, tell)?;
    fs::create_dir_all(&order.debs).map_err(host("make", &order.debs))?;
    apt.download(&offers, &order.debs, tell).map_err(|cause| {
        let gone = offers.iter().filter(|offer| !order.debs.join(&offer.file).exists());
        wanted(&cause, gone.map(|offer| offer.file.clone()).collect())
    })?;
    let paths: Vec<PathBuf> = offers.iter().map(|offer| order.debs.join(&offer.file)).collect();
    Shelf::of(paths.iter().map(|path| path.as_path()))
}

/// Which files the archive has for `order`. Old lists will do where new ones cannot be had.
fn plan(order: &Order, tell: &mut dyn FnMut(Progress)) -> Result<(Apt, Vec<Offer>), ImageError> {
    let without_lists = |cause: ImageError| {
        let mut names: BTreeSet<String> = order.names().into_iter().chain([order.prefix]).map(str::to_owned).collect();
        names.extend(order.programs.iter().flat_map(|(package, _)| known::libraries(package)).map(str::to_owned));
        wanted(&cause, names.iter().map(|name| known::file(name)).collect())
    };
    let apt = Apt::open(&order.cache, SUITE).map_err(without_lists)?;
    tell(Progress::Step("reading Debian's package lists".to_owned()));
    if let Err(cause) = apt.update()
        && !apt.has_lists()
    {
        return Err(without_lists(cause));
    }
    let kernel = apt.real_kernel(order.meta)?;
    let offers = apt.offers(&kernel, &order.names())?;
    Ok((apt, offers))
}

fn wanted(cause: &ImageError, mut files: Vec<String>) -> ImageError {
    files.sort();
    ImageError::Wanted { cause: format!("cannot fetch Debian's packages: {cause}"), files }
}

fn content(package: &str, what: &str) -> ImageError {
    ImageError::Content { package: package.to_owned(), what: what.to_owned() }
}

/// What decides the image besides its packages.
fn recipe() -> String {
    format!("{}\n{}\n{INIT}", env!("CARGO_PKG_VERSION"), MODULES.join(" "))
}

/// The cache folder: `chosen`, or by the environment.
fn cache_folder(chosen: Option<&Path>) -> Result<PathBuf, ImageError> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = chosen
        .map(Path::to_path_buf)
        .or_else(|| set("UNHALTED_CACHE"))
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("unhalted")))
        .or_else(|| Some(set("HOME")?.join(".cache/unhalted")))
        .ok_or(ImageError::NoCache)?;
    std::path::absolute(&path).map_err(host("find", &path))
}
