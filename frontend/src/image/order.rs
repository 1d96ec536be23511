//! An image asked for: which packages it is made of, what is packed of them, and where it stands in the cache.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;

use super::deb::Deb;
use super::error::{ImageError, host};
use super::modules::{self, Modules};
use super::shelf::{Shelf, is_library};
use super::tree::{Node, Tree};
use super::{Image, Options, Progress, cache_folder, initramfs, known};

/// The kernels: the name users give, the Debian release that they and all programs are taken from, the package that stands
/// for the newest of it, and what the names of the real packages begin with.
const KERNELS: [(&str, &str, &str, &str); 3] = [
    ("6.1", "bookworm", "linux-image-cloud-amd64", "linux-image-6.1"),
    ("6.12", "bookworm", "linux-image-6.12-cloud-amd64", "linux-image-6.12"),
    ("trixie", "trixie", "linux-image-cloud-amd64", "linux-image-6.12"),
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

/// The names of the kernels that can be had.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|(name, ..)| *name)
}

/// An image asked for, worked out.
#[derive(Default)]
pub struct Order {
    /// The Debian release that packages are taken from.
    pub suite: &'static str,
    /// The package that stands for the newest kernel of the version.
    pub meta: &'static str,
    /// What the names of the version's kernel packages begin with.
    pub prefix: &'static str,
    /// Programs that come with their libraries only: package and path.
    pub programs: Vec<(&'static str, &'static str)>,
    /// Packages that come whole.
    whole: Vec<String>,
    /// The name of the set, and of its folder.
    pub set: String,
    /// The folder of the kernel's sets.
    pub home: PathBuf,
    /// The folder of fetched package files.
    pub debs: PathBuf,
    /// The cache folder.
    pub cache: PathBuf,
}

/// The packages that an image is made of.
pub struct Chosen<'a> {
    kernel: &'a Deb,
    busybox: &'a Deb,
    libraries: Vec<&'a Deb>,
    whole: Vec<&'a Deb>,
}

impl<'a> Chosen<'a> {
    /// All of them, each once, by name.
    pub fn all(&self) -> Vec<&'a Deb> {
        let mut all: Vec<&Deb> =
            [self.kernel, self.busybox].into_iter().chain(self.libraries.clone()).chain(self.whole.clone()).collect();
        all.sort_by(|a, b| a.package.cmp(&b.package));
        all.dedup_by(|a, b| a.package == b.package);
        all
    }
}

impl Order {
    /// The order that was worked out as `set` under `home`: enough to find its image.
    pub fn named(home: PathBuf, set: &str) -> Self {
        Self { set: set.to_owned(), home, ..Self::default() }
    }

    /// Works out what `options` ask for.
    ///
    /// # Errors
    /// No such kernel, or no place for the cache.
    pub fn of(options: &Options) -> Result<Self, ImageError> {
        let known = || kernels().collect::<Vec<_>>().join(", ");
        let (name, suite, meta, prefix) = KERNELS
            .into_iter()
            .find(|(name, ..)| *name == options.kernel)
            .ok_or_else(|| ImageError::UnknownKernel { name: options.kernel.clone(), known: known() })?;
        let cache = cache_folder(options.cache.as_deref())?;
        let with: BTreeSet<&str> =
            options.with.iter().map(|w| w.trim()).filter(|w| !w.is_empty() && *w != "none").collect();
        let program =
            |name: &&str| PROGRAMS.iter().find(|(n, ..)| n == name).map(|(_, package, path)| (*package, *path));
        let set = ["busybox"].into_iter().chain(with.iter().copied()).collect::<Vec<_>>().join("+");
        Ok(Self {
            suite,
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

    /// Whether the cache holds the image, made as it would be made now.
    pub fn is_made(&self) -> bool {
        fs::read_to_string(self.folder().join("recipe")).is_ok_and(|made| made == recipe())
    }

    /// The image in the cache.
    ///
    /// # Errors
    /// It is not there.
    pub fn image(&self) -> Result<Image, ImageError> {
        let (folder, packages) = (self.folder(), self.folder().join("packages"));
        Ok(Image {
            kernel: folder.join("vmlinuz"),
            initrd: folder.join("initrd.cpio"),
            append: "console=ttyS0,115200 nokaslr panic=-1".to_owned(),
            packages: fs::read_to_string(&packages).map_err(host("read", &packages))?,
        })
    }

    /// Makes it the image that is booted by default.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn make_current(&self) -> Result<(), ImageError> {
        let path = self.home.join("current");
        fs::write(&path, &self.set).map_err(host("write", &path))
    }

    /// The names of the packages to fetch besides the kernel.
    pub fn names(&self) -> Vec<&str> {
        let programs = self.programs.iter().map(|(package, _)| *package);
        ["busybox-static"].into_iter().chain(programs).chain(self.whole.iter().map(String::as_str)).collect()
    }

    /// Picks the packages from `shelf`.
    ///
    /// # Errors
    /// Some are not there: their files are listed.
    pub fn choose<'a>(&self, shelf: &'a Shelf) -> Result<Chosen<'a>, ImageError> {
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
    ///
    /// # Errors
    /// A package lacks what is needed of it, or the host refuses.
    pub fn make(&self, chosen: &Chosen<'_>, tell: &mut dyn FnMut(Progress)) -> Result<(), ImageError> {
        let (folder, partial) = (self.folder(), self.home.join(format!("{}.{}", self.set, std::process::id())));
        tell(Progress::Step(format!("unpacking {}", chosen.kernel.package)));
        let mut kernel = Tree::merged_usr();
        chosen.kernel.unpack(|path| path.starts_with("boot/") || path.starts_with("usr/lib/modules/"), &mut kernel)?;
        let vmlinuz =
            kernel.iter().find(|(path, _)| path.starts_with("boot/vmlinuz-")).and_then(|(path, _)| kernel.bytes(path));
        let vmlinuz = vmlinuz.ok_or_else(|| content(&chosen.kernel.package, "boot/vmlinuz"))?;
        tell(Progress::Step(format!("packing {} packages", chosen.all().len())));
        let tree = self.fill(chosen, &kernel)?;
        fs::create_dir_all(&partial).map_err(host("make", &partial))?;
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

fn content(package: &str, what: &str) -> ImageError {
    ImageError::Content { package: package.to_owned(), what: what.to_owned() }
}

/// What decides the image besides its packages.
fn recipe() -> String {
    format!("{}\n{}\n{INIT}", env!("CARGO_PKG_VERSION"), MODULES.join(" "))
}
