//! Files that operators write.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A larger one is none.
const MAX_BYTES: u64 = 4 << 20;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the {what} {path}: {source}; mend its permissions")]
    Read {
        /// What it would be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none.
    #[error("the {what} {path}: {message}")]
    Form {
        /// What it would be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Where, and what.
        message: String,
    },
}

/// Reads `what`; what nothing makes where there is no file.
///
/// # Errors
/// Where it cannot be read, or is wrong.
pub fn load<T: Default>(
    what: &'static str,
    path: &Path,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, FileError> {
    let fail = |source| FileError::Read { what, path: path.to_owned(), source };
    // Not to be held up by a pipe of that name.
    let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(fail(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    let wrong = |message: String| FileError::Form { what, path: path.to_owned(), message };
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("it is larger than {MAX_BYTES} bytes")));
    }
    parse(&text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_says_nothing_and_what_is_wrong_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let load = |path: &Path| {
            load(
                "list",
                path,
                |text| if text == "no" { Err("it says no".to_owned()) } else { Ok(text.len()) },
            )
        };
        assert_eq!(load(&path).unwrap(), 0);
        fs::write(&path, "four").unwrap();
        assert_eq!(load(&path).unwrap(), 4);
        fs::write(&path, "no").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("it says no"));
        fs::write(&path, vec![b'#'; MAX_BYTES as usize + 1]).unwrap();
        assert!(matches!(load(&path), Err(FileError::Form { .. })));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(load(&path), Err(FileError::Read { .. })));
        assert!(matches!(load(directory.path()), Err(FileError::Read { .. })));
    }
}
