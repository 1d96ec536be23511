//! The image of Debian's 6.1 that tests boot: by package, out of the cache when it is there.
#![allow(dead_code, reason = "each test uses its part")]

use frontend::image::{self, Image, ImageError, Options};

/// The image with these packages besides, or `None` where it cannot be had.
pub fn debian(with: &[&str]) -> Option<Image> {
    had(made(with))
}

/// The one that is in the cache, whatever it has, or one with no packages besides.
pub fn debian_cached() -> Option<Image> {
    had(image::debian_cached("6.1", None).map_or_else(|| made(&[]), Ok))
}

fn made(with: &[&str]) -> Result<Image, ImageError> {
    let with = with.iter().map(|name| (*name).to_owned()).collect();
    let options = Options { kernel: "6.1".to_owned(), with, offline: None, cache: None, refresh: false };
    image::debian(&options, &mut |_| {})
}

/// The image; without one because there is no package mirror the test is skipped, and says so.
fn had(made: Result<Image, ImageError>) -> Option<Image> {
    match made {
        Ok(image) => Some(image),
        Err(ImageError::Wanted { cause, .. }) => {
            eprintln!("skipped: no Debian image in the cache, and no package mirror: {cause}");
            None
        }
        Err(error) => panic!("the image cannot be made: {error}"),
    }
}
