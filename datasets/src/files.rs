//! Files and folders that appear whole or not at all, and their checksums.
//!
//! Everything is built beside its target, synchronised, then renamed, so that a reader never sees half of it and a
//! killed process leaves the previous version in place.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result, Rule};

/// Writes a file through `fill`, then renames it onto `path`; an existing file is replaced.
///
/// Errors: [`Error::Io`] when the folder of `path` is absent or cannot be written; nothing is left behind then.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_beside(path)?;
    let mut writer = BufWriter::new(temporary.as_file());
    fill(&mut writer).and_then(|()| writer.flush()).map_err(Error::io(path, "write"))?;
    drop(writer);
    persist(temporary, path)
}

/// An empty temporary file in the folder of `path`, readable as an ordinary new file is.
pub(crate) fn temporary_beside(path: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".incomplete-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask, as for any new file
    }
    builder.tempfile_in(parent(path)).map_err(Error::io(path, "write"))
}

/// Synchronises a temporary file and renames it onto `path`.
pub(crate) fn persist(temporary: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    temporary.as_file().sync_all().map_err(Error::io(path, "write"))?;
    temporary.persist(path).map_err(|e| Error::io(path, "write")(e.error))?;
    sync_folder(parent(path))
}

/// Builds a folder through `fill`, which gets the path of an empty temporary sibling, then renames it to `path`.
///
/// An existing folder at `path` is replaced: it is moved aside first and deleted last, so at every moment at least one
/// whole version is on disk. Errors: those of `fill`, or [`Error::Io`]; the temporary folder is removed then.
pub fn write_folder_atomic(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = parent(path);
    fs::create_dir_all(parent).map_err(Error::io(parent, "create the folder"))?;
    let sibling = || tempfile::Builder::new().prefix(".incomplete-").tempdir_in(parent);
    let temporary = sibling().map_err(Error::io(path, "write"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).map_err(Error::io(path, "write"))?;
    }
    fill(temporary.path())?;
    sync_tree(temporary.path()).map_err(Error::io(path, "write"))?;
    if path.exists() {
        let aside = sibling().map_err(Error::io(path, "replace"))?; // deleted when it is dropped
        fs::rename(path, aside.path().join("replaced")).map_err(Error::io(path, "replace"))?;
        if let Err(error) = fs::rename(temporary.path(), path) {
            // Put the previous version back before saying why; the first reason is the one worth telling.
            let _ = fs::rename(aside.path().join("replaced"), path);
            return Err(Error::io(path, "write")(error));
        }
    } else {
        fs::rename(temporary.path(), path).map_err(Error::io(path, "write"))?;
    }
    // The folder now lives under its own name: there is nothing left to delete.
    let _ = temporary.keep();
    sync_folder(parent)
}

/// The SHA-256 of some bytes, 64 lowercase hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The SHA-256 of a file's bytes, 64 lowercase hexadecimal digits.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut block).map_err(Error::io(path, "read"))?;
        if n == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&block[..n]);
    }
}

/// Reads a small text file whole.
///
/// Errors: [`Error::Missing`] (with `what` it should be), [`Error::Invalid`] when it is longer than `limit` bytes or
/// not UTF-8.
pub fn read_text(path: &Path, what: &str, limit: u64) -> Result<String> {
    let file = open(path, what)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::invalid(Rule::Size, path, "file", format!("at most {limit} bytes"), "more"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = format!("a byte that is not, at offset {}", e.utf8_error().valid_up_to());
        Error::invalid(Rule::Format, path, "file", "UTF-8 text", at)
    })
}

/// The largest text file of numbers that is read: 256 MiB.
const MAX_NUMBERS: u64 = 256 << 20;

/// The numbers of a text file, line by line; empty lines are skipped.
///
/// Errors: those of [`read_text`]; [`Error::Invalid`] for a line with anything but finite numbers.
pub(crate) fn read_numbers(path: &Path, what: &str) -> Result<Vec<Vec<f64>>> {
    let text = read_text(path, what, MAX_NUMBERS)?;
    let mut rows = Vec::new();
    for (k, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Option<Vec<f64>> =
            line.split_whitespace().map(|w| w.parse().ok().filter(|x: &f64| x.is_finite())).collect();
        rows.push(row.ok_or_else(|| {
            let cut: String = line.chars().take(60).collect();
            Error::invalid(Rule::Format, path, format!("line {}", k + 1), "numbers", format!("{cut:?}"))
        })?);
    }
    Ok(rows)
}

/// Opens a file for reading; an absent one is [`Error::Missing`], a folder [`Error::Invalid`].
pub(crate) fn open(path: &Path, what: &str) -> Result<File> {
    if path.is_dir() {
        return Err(Error::invalid(Rule::Format, path, "path", what, "a folder"));
    }
    File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_path_buf(), expected: what.to_string() },
        _ => Error::io(path, "read")(e),
    })
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> Result<()> {
    // Only POSIX systems can synchronise a folder; elsewhere the rename itself is all there is.
    if cfg!(unix) {
        File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io(path, "synchronise"))?;
    }
    Ok(())
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    let mut pending: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => pending.push(entry.path()),
                kind if kind.is_file() => File::open(entry.path())?.sync_all()?,
                _ => {}
            }
        }
        if cfg!(unix) {
            File::open(&folder)?.sync_all()?;
        }
    }
    Ok(())
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, |w| w.write_all(b"one")).unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(b"two")?;
            Err(io::Error::other("disk full"))
        });
        assert!(error.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_atomic(&path, |w| w.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("sub/step-1");
        let fill =
            |text: &'static str| move |dir: &Path| write_atomic(&dir.join("x"), |w| w.write_all(text.as_bytes()));
        write_folder_atomic(&path, fill("one")).unwrap();
        let error = write_folder_atomic(&path, |dir| {
            fill("bad")(dir)?;
            Err(Error::Missing { path: dir.to_path_buf(), expected: "more".into() })
        });
        assert!(error.is_err());
        assert_eq!(fs::read(path.join("x")).unwrap(), b"one");
        write_folder_atomic(&path, fill("two")).unwrap();
        assert_eq!(fs::read(path.join("x")).unwrap(), b"two");
        assert_eq!(fs::read_dir(parent.path().join("sub")).unwrap().count(), 1);
    }

    #[test]
    fn sha256_of_a_known_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        // FIPS 180-4, example 1.
        assert_eq!(sha256_file(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
