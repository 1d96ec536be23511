//! What can go wrong while a guest image is fetched and packed: the cause in the message, the remedy in the help.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

/// Why there is no image.
#[derive(Debug, Error, Diagnostic)]
pub enum ImageError {
    /// The kernel asked for is not one of those that can be had by name.
    #[error("no Debian kernel is called `{name}`")]
    #[diagnostic(code(image::kernel), help("kernels that can be had: {known}"))]
    UnknownKernel {
        /// As the user wrote it.
        name: String,
        /// The names that would do, separated by commas.
        known: String,
    },

    /// Neither an option nor the environment says where the cache is.
    #[error("nowhere to keep the image: UNHALTED_CACHE, XDG_CACHE_HOME and HOME are all unset")]
    #[diagnostic(code(image::cache), help("pass `--cache DIR`"))]
    NoCache,

    /// A file or folder of the host refused.
    #[error("cannot {doing} {}", path.display())]
    #[diagnostic(code(image::host))]
    Host {
        /// What was tried, as in "cannot write PATH".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },

    /// A file that should be a Debian package is none, or is damaged.
    #[error("{} is not a sound Debian package: {problem}", path.display())]
    #[diagnostic(code(image::package), help("remove the file and fetch it again"))]
    NotAPackage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// Packages are missing and cannot be fetched.
    #[error("{cause}; {} package file(s) are wanted", files.len())]
    #[diagnostic(
        code(image::wanted),
        help(
            "put these files (or newer versions of them) into a folder, from any machine that can reach a Debian \
             mirror, and pass `--offline FOLDER`:\n  {}",
            files.join("\n  ")
        )
    )]
    Wanted {
        /// Why they cannot be fetched.
        cause: String,
        /// Exactly the files wanted, sorted.
        files: Vec<String>,
    },

    /// The host's package client refused for another reason than a missing network.
    #[error("`{command}` failed: {said}")]
    #[diagnostic(
        code(image::client),
        help("check the names given to `--with`; `--offline FOLDER` does without the client")
    )]
    Client {
        /// The command, without its options.
        command: String,
        /// The last of what it said.
        said: String,
    },

    /// A package lacks what the image needs from it.
    #[error("{} holds no {what}", package)]
    #[diagnostic(code(image::content), help("this release of the package is not one that `unhalted image` knows"))]
    Content {
        /// The package.
        package: String,
        /// What was looked for in it.
        what: String,
    },
}

/// Turns an I/O error into [`ImageError::Host`], naming what was tried on which path.
pub(super) fn host(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_path_buf();
    move |source| ImageError::Host { doing, path, source }
}
