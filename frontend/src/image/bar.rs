//! How the fetching of an image looks: a bar on a terminal, plain lines elsewhere. On standard error.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use super::Progress;

/// A listener for [`super::debian`] that shows what it hears.
pub fn bar() -> impl FnMut(Progress) {
    let (bar, terminal) = (ProgressBar::new(0), stderr().is_terminal());
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {eta}");
    let mut told = String::new();
    move |progress| {
        let line = match &progress {
            Progress::Step(text) => text.clone(),
            Progress::Fetch { files, total, .. } => {
                format!("fetching {files} packages, {} MB", total.div_ceil(1_000_000))
            }
        };
        let news = line != told;
        if !terminal {
            if news {
                eprintln!("{line}");
            }
        } else if let Progress::Fetch { bytes, total, files } = progress {
            if let (true, Ok(style)) = (news, &style) {
                bar.reset();
                bar.set_style(style.clone());
                bar.set_message(format!("fetching {files} packages"));
                bar.set_length(total);
            }
            bar.set_position(bytes);
        } else {
            bar.suspend(|| eprintln!("{line}"));
        }
        told = line;
    }
}
