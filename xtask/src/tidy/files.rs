//! The text files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;

/// A file that a person wrote.
pub struct Source {
    /// Path from the root of the workspace, with forward slashes.
    pub path: String,
    pub text: String,
}

/// Files that people write and that are read here; everything else is data.
const EXTENSIONS: &[&str] = &["rs", "toml", "md", "cff", "sh", "yml", "yaml"];
const SCRIPTS: &[&str] = &[".ci/run", ".gitignore"];

/// Folders that hold no sources, for a tree without git.
const NOT_SOURCES: &[&str] = &[".git", "target", "runs", "shared"];

impl Source {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the file holds tests and nothing else.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// Lines, counted from one.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Lines that run outside of tests, without comments.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        code.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Reads every text file that git tracks or would track.
///
/// # Errors
/// A file cannot be read or is not UTF-8.
pub fn read_all() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths()? {
        let extension = Path::new(&path).extension().and_then(|extension| extension.to_str());
        let is_text =
            extension.is_some_and(|known| EXTENSIONS.contains(&known)) || SCRIPTS.contains(&path.as_str());
        // A file that is deleted but not yet committed is still listed.
        if is_text && Path::new(&path).is_file() {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

fn paths() -> Result<Vec<String>> {
    let mut git = process::command("git");
    // The owner of a checkout on a build machine is often another user; only names are read here.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut paths: Vec<String> = match process::output(git) {
        Ok(list) => list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect(),
        Err(_) => walk()?,
    };
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// All files below the root, for a copy of the tree that is no git checkout.
fn walk() -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                if !NOT_SOURCES.iter().any(|&known| name == known) {
                    folders.push(path);
                }
            } else {
                let path = path.to_string_lossy().replace('\\', "/");
                found.push(path.strip_prefix("./").unwrap_or(&path).to_owned());
            }
        }
    }
    Ok(found)
}
