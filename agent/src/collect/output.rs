//! Where received events are written: standard output, or a file that never ends in half a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where events are written.
pub trait Output: Send {
    /// Writes whole lines. After an error none of them counts as written, and they may be offered again.
    ///
    /// # Errors
    /// As the file or pipe gives them.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;

    /// What it is called in messages.
    fn name(&self) -> String;
}

/// Standard output.
pub struct Stdout;

impl Output for Stdout {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        stdout.flush()
    }

    fn name(&self) -> String {
        "standard output".to_owned()
    }
}

/// A file that lines are appended to. A write that failed half-way is cut off again: a full disk shows first as a
/// short write.
pub struct AppendFile {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    length: u64,
}

impl AppendFile {
    /// Opens the file for appending, or makes it.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, path: path.to_owned(), length })
    }

    /// Cuts off what is not whole lines.
    fn cut(&self) {
        // A file that cannot be cut (a pipe, a device) keeps what it took; the error of the write tells more.
        let _ = self.file.set_len(self.length);
    }
}

impl Output for AppendFile {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self.file.write_all(lines) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.cut();
                Err(error)
            }
        }
    }

    fn name(&self) -> String {
        format!("{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        let mut output = AppendFile::open(&path).unwrap();
        output.append(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_whole_lines() {
        let mut device = AppendFile::open(Path::new("/dev/full")).unwrap();
        assert_eq!(device.append(b"x\n").unwrap_err().kind(), io::ErrorKind::StorageFull);

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let mut output = AppendFile::open(&path).unwrap();
        output.append(b"a whole line\n").unwrap();
        output.file.write_all(b"half a li").unwrap();
        output.cut();
        output.append(b"another\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a whole line\nanother\n");
    }
}
