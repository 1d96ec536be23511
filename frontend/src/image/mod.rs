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
mod order;
pub mod shelf;
pub mod tree;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use apt::{Apt, Offer};
pub use bar::bar;
use deb::Deb;
pub use error::ImageError;
use error::host;
use order::Order;
pub use order::kernels;
use shelf::Shelf;

/// What image to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel: `6.1` or `6.12` with Debian 12's programs, or `trixie`, Debian 13's kernel 6.12 with its programs.
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
    let order = Order::named(home, set.trim());
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
    let apt = Apt::open(&order.cache, order.suite).map_err(without_lists)?;
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
