//! Packages by name through the host's own package client, apt, with a state of our own.
//!
//! Nothing of the host's packages is read but where its archives are and its archive keys, nothing is changed, no
//! maintainer script runs, and root is not needed. apt checks signatures and digests.
//! Source: apt-get(8), apt.conf(5), apt's doc/progress-reporting.md (`APT::Status-Fd`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Progress;
use super::error::{ImageError, host};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package file as the archive offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its file name, `NAME_VERSION_ARCHITECTURE.deb`.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// apt with lists of one Debian release, kept under the cache.
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Sets the private state up for `suite`; asks the network for nothing.
    ///
    /// # Errors
    /// There is no apt, it knows no Debian archive, or the state cannot be written.
    pub fn open(cache: &Path, suite: &str) -> Result<Self, ImageError> {
        let folder = cache.join("apt").join(suite);
        for part in ["etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(host("make", &part))?;
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(host("write", &path))
        };
        write("status", "")?;
        write("etc/sources.list", &sources(suite)?)?;
        write("apt.conf", &configuration(&folder))?;
        Ok(Self { folder })
    }

    /// Whether package lists of an earlier run are there.
    pub fn has_lists(&self) -> bool {
        let lists = fs::read_dir(self.folder.join("state/lists")).into_iter().flatten().flatten();
        lists.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("Packages"))
    }

    /// Fetches the package lists.
    ///
    /// # Errors
    /// The archive cannot be reached.
    pub fn update(&self) -> Result<(), ImageError> {
        self.run(self.command("apt-get").args(["-o", "APT::Update::Error-Mode=any", "update"])).map(drop)
    }

    /// The kernel package that the package `meta` stands for today; `meta` itself where it stands for none.
    ///
    /// # Errors
    /// No package has that name.
    pub fn real_kernel(&self, meta: &str) -> Result<String, ImageError> {
        let said = self.run(self.command("apt-cache").args(["depends", meta]))?;
        let real = said.lines().find_map(|line| {
            let name = line.trim().strip_prefix("Depends: linux-image-")?;
            name.starts_with(|c: char| c.is_ascii_digit()).then(|| format!("linux-image-{name}"))
        });
        Ok(real.unwrap_or_else(|| meta.to_owned()))
    }

    /// The package files of `alone` by themselves and of `whole` with everything they depend on.
    ///
    /// # Errors
    /// No package has one of the names.
    pub fn offers(&self, alone: &str, whole: &[&str]) -> Result<Vec<Offer>, ImageError> {
        let mut said = self.run(self.command("apt-get").args(["--print-uris", "download", alone]))?;
        said += &self.run(self.command("apt-get").args(["-y", "--print-uris", "install"]).args(whole))?;
        Ok(said.lines().filter_map(offer).collect())
    }

    /// Fetches those of `offers` that are not in `into` yet.
    ///
    /// # Errors
    /// The archive cannot be reached, or holds the file no more.
    pub fn download(&self, offers: &[Offer], into: &Path, tell: &mut dyn FnMut(Progress)) -> Result<(), ImageError> {
        let wanted: Vec<&Offer> = offers.iter().filter(|offer| !into.join(&offer.file).exists()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let total: u64 = wanted.iter().map(|offer| offer.bytes).sum();
        let partial = self.folder.join("download");
        fs::create_dir_all(&partial).map_err(host("make", &partial))?;
        tell(Progress::Fetch { files: wanted.len(), bytes: 0, total });
        let mut command = self.command("apt-get");
        command.args(["-o", "APT::Status-Fd=1", "download"]).current_dir(&partial);
        command.args(wanted.iter().filter_map(|offer| name_and_version(&offer.file)));
        self.watched(&mut command, |percent| {
            let bytes = (total as f64 * (percent / 100.0).clamp(0.0, 1.0)) as u64;
            tell(Progress::Fetch { files: wanted.len(), bytes, total });
        })?;
        for offer in &wanted {
            let (from, to) = (partial.join(&offer.file), into.join(&offer.file));
            fs::rename(&from, &to).map_err(host("keep the fetched", &from))?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    fn run(&self, command: &mut Command) -> Result<String, ImageError> {
        let shown = shown(command);
        let output = command.output().map_err(|e| refused(&shown, &e.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(refused(&shown, &String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs `command`, calling `percent` with what it reports of its progress.
    fn watched(&self, command: &mut Command, mut percent: impl FnMut(f64)) -> Result<(), ImageError> {
        let shown = shown(command);
        let errors = self.folder.join("errors");
        let file = fs::File::create(&errors).map_err(host("write", &errors))?;
        let mut child =
            command.stdout(Stdio::piped()).stderr(file).spawn().map_err(|e| refused(&shown, &e.to_string()))?;
        let out = child.stdout.take().expect("stdout was asked to be a pipe");
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(at) = line.strip_prefix("dlstatus:").and_then(|l| l.split(':').nth(1)?.parse().ok()) {
                percent(at);
            }
        }
        let status = child.wait().map_err(|e| refused(&shown, &e.to_string()))?;
        if status.success() {
            return Ok(());
        }
        Err(refused(&shown, &fs::read_to_string(&errors).unwrap_or_default()))
    }
}

/// The archives that the host's own apt is set up for, as sources of `suite`.
fn sources(suite: &str) -> Result<String, ImageError> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).env("LC_ALL", "C");
    let output = command.output().map_err(|e| refused("apt-get indextargets", &e.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let of_debian = |uri: &&str| uri.contains("/debian");
    let (security, main): (Vec<&str>, Vec<&str>) =
        said.lines().filter(of_debian).partition(|uri| uri.contains("security"));
    let main = main.first().ok_or_else(|| refused("apt-get indextargets", "the host's apt knows no Debian archive"))?;
    let signed = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let mut text = format!("deb {signed}{main} {suite} main\n");
    if let Some(security) = security.first() {
        text += &format!("deb {signed}{security} {suite}-security main\n");
    }
    Ok(text)
}

fn configuration(folder: &Path) -> String {
    let at = folder.display();
    format!(
        r#"Dir "{at}/"; Dir::State "state"; Dir::State::status "{at}/status"; Dir::Cache "cache"; Dir::Etc "etc";
Dir::Etc::sourcelist "sources.list"; Dir::Etc::sourceparts "-"; Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";
APT::Architecture "amd64"; APT::Architectures {{ "amd64"; }}; APT::Install-Recommends "0"; APT::Sandbox::User "";
Acquire::Languages "none"; Acquire::Retries "2"; quiet "1"; Debug::NoLocking "1";
"#
    )
}

/// A line `'URI' FILE BYTES DIGEST` of `--print-uris`.
fn offer(line: &str) -> Option<Offer> {
    let mut words = line.strip_prefix('\'')?.split_once("' ")?.1.split_whitespace();
    Some(Offer { file: words.next()?.to_owned(), bytes: words.next()?.parse().ok()? })
}

/// `NAME=VERSION` as apt wants it, from a file name, in which the colon of an epoch is `%3a`.
fn name_and_version(file: &str) -> Option<String> {
    let mut parts = file.split('_');
    Some(format!("{}={}", parts.next()?, parts.next()?.replace("%3a", ":")))
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let verb =
        command.get_args().map(|a| a.to_string_lossy()).find(|a| a.starts_with(|c: char| c.is_ascii_lowercase()));
    verb.map_or(program.clone(), |verb| format!("{program} {verb}"))
}

fn refused(command: &str, said: &str) -> ImageError {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("W:")).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    ImageError::Client { command: command.to_owned(), said: last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_from_what_apt_prints() {
        let line = "'http://mirror/pool/z/zlib1g_1.2_amd64.deb' zlib1g_1%3a1.2.13_amd64.deb 86684 SHA256:00";
        let read = offer(line).unwrap();
        assert_eq!(read, Offer { file: "zlib1g_1%3a1.2.13_amd64.deb".to_owned(), bytes: 86684 });
        assert_eq!(name_and_version(&read.file).unwrap(), "zlib1g=1:1.2.13");
        assert_eq!(offer("Reading package lists..."), None);
    }

    #[test]
    fn a_refusal_keeps_the_last_lines_and_no_warnings() {
        let error = refused("apt-get install", "W: old\nE: Unable to locate package zzz\n").to_string();
        assert_eq!(error, "`apt-get install` failed: E: Unable to locate package zzz");
    }
}
