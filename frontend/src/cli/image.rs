//! `unhalted image`: makes guests that anyone can get.

use super::Failure;
use crate::image::{self, Options};
use crate::report::grouped;
use std::path::PathBuf;

/// Make guest images out of packages.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, clap::Subcommand)]
enum Which {
    /// Debian's cloud kernel with busybox, our init and chosen programs: `unhalted run debian` boots it
    Debian(Debian),
}

const EXAMPLES: &str = "\
Examples:
  unhalted image debian                       kernel 6.1, busybox and perf
  unhalted image debian 6.12 --with python3,gcc
  unhalted image debian --list                which package files it takes
  unhalted image debian --offline ~/debs      from a folder, without network";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Debian {
    /// The kernel: 6.1 or 6.12 with Debian 12's programs; trixie: Debian 13's kernel (6.12) and programs
    #[arg(default_value = DEFAULT_KERNEL)]
    kernel: String,
    /// What comes besides busybox: `perf`, Debian packages by name with what they depend on, or `none`
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "perf")]
    with: Vec<String>,
    /// Take package files from this folder and leave the network alone
    #[arg(long, value_name = "FOLDER")]
    offline: Option<PathBuf>,
    /// Keep everything here instead of in the user's cache folder
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Make the image anew from the newest packages
    #[arg(long)]
    refresh: bool,
    /// Only list the package files
    #[arg(long)]
    list: bool,
}

/// The kernel of `unhalted run debian`.
pub const DEFAULT_KERNEL: &str = "6.1";

/// Runs the command.
///
/// # Errors
/// Packages cannot be had, or the host's file system refuses.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let Which::Debian(debian) = &args.which;
    let options = Options {
        kernel: debian.kernel.clone(),
        with: debian.with.clone(),
        offline: debian.offline.clone(),
        cache: debian.cache.clone(),
        refresh: debian.refresh,
    };
    let mut tell = image::bar();
    if debian.list {
        for offer in image::list(&options, &mut tell)? {
            println!("{:>14}  {}", grouped(offer.bytes), offer.file);
        }
        return Ok(0);
    }
    let made = image::debian(&options, &mut tell)?;
    print!("{}", made.packages);
    eprintln!("kernel {}", made.kernel.display());
    eprintln!("initrd {}", made.initrd.display());
    let version = if debian.kernel == DEFAULT_KERNEL { String::new() } else { format!(" --debian {}", debian.kernel) };
    eprintln!("boot it with: unhalted run debian{version}");
    Ok(0)
}
