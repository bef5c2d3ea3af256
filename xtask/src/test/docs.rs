//! The documentation: rustdoc takes it, and every file that a page links to is there.

use std::{fs, io, path::Path};

use super::{
    Counts, Outcome,
    stages::{Ran, check},
};
use crate::workspace::Workspace;

/// Folders of the checkout that hold pages for people.
const FOLDERS: [&str; 3] = [".", "docs", "packaging"];

/// Both checks.
pub(super) fn run(workspace: &Workspace) -> Ran {
    let mut cargo = workspace.cargo();
    cargo
        .args(["doc", "--no-deps", "--locked", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-Dwarnings");
    check(workspace, "cargo-doc", &mut cargo)?;
    match dead_links(&workspace.root) {
        Ok(dead) if dead.is_empty() => Ok(Outcome::Passed(None)),
        Ok(dead) => Ok(Outcome::Failed(Counts::ONE_FAILED, dead.join("\n"))),
        Err(error) => Ok(Outcome::Failed(Counts::ONE_FAILED, format!("cannot read the pages: {error}"))),
    }
}

/// `page: target` for each link to a file that is not there.
fn dead_links(root: &Path) -> io::Result<Vec<String>> {
    let mut dead = Vec::new();
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        if !folder.is_dir() {
            continue;
        }
        for entry in folder.read_dir()? {
            let page = entry?.path();
            if page.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(&page)?;
            let gone = local_targets(&text).filter(|target| !folder.join(target).exists());
            dead.extend(gone.map(|target| format!("  {}: no such file: {target}", page.display())));
        }
    }
    Ok(dead)
}

/// Targets of `[text](target)` that are files of the checkout, without their anchors.
fn local_targets(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let files = targets.map(|target| target.split_once('#').map_or(target, |(file, _)| file));
    files.filter(|file| !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_web_and_within_a_page_are_left_alone() {
        let text = "[a](docs/a.md) [b](https://example.org/x) [c](#here) [d](docs/d.md#there) `x[0](y`";
        assert_eq!(local_targets(text).collect::<Vec<_>>(), ["docs/a.md", "docs/d.md"]);
    }

    #[test]
    fn a_dead_link_is_named_with_its_page() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("docs")).unwrap();
        fs::write(dir.path().join("docs/a.md"), "[b](b.md) [top](../README.md)").unwrap();
        fs::write(dir.path().join("README.md"), "[a](docs/a.md)").unwrap();
        let dead = dead_links(dir.path()).unwrap();
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert!(dead.iter().all(|line| line.ends_with("docs/a.md: no such file: b.md")), "{dead:?}");
    }
}
