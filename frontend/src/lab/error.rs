//! What can be wrong with a scenario file, with the place and a remedy.

use miette::{Diagnostic, NamedSource, SourceSpan};
use std::ops::Range;
use thiserror::Error;

/// A scenario file that makes no sense.
#[derive(Debug, Error, Diagnostic)]
#[error("{what}")]
pub struct LabError {
    what: String,
    #[source_code]
    source_code: NamedSource<String>,
    #[label("here")]
    at: Option<SourceSpan>,
    #[help]
    remedy: Option<String>,
    line: usize,
}

impl LabError {
    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// The same before it is known from which file.
#[derive(Debug)]
pub struct Complaint {
    pub what: String,
    pub at: Option<Range<usize>>,
    pub remedy: Option<String>,
}

impl Complaint {
    pub fn new(what: impl Into<String>, at: Range<usize>, remedy: impl Into<String>) -> Complaint {
        Complaint { what: what.into(), at: Some(at), remedy: Some(remedy.into()) }
    }

    pub fn in_file(self, name: &str, text: &str) -> Box<LabError> {
        let start = self.at.as_ref().map_or(0, |at| at.start.min(text.len()));
        let line = text.as_bytes()[..start].iter().filter(|c| **c == b'\n').count() + 1;
        Box::new(LabError {
            what: format!("{name}, line {line}: {}", self.what),
            source_code: NamedSource::new(name, text.to_owned()),
            at: self.at.map(SourceSpan::from),
            remedy: self.remedy,
            line,
        })
    }
}
