//! `RUN --mount=type=secret`: what the client has and the image must not get.
//!
//! A secret is a file in memory on the host, shown read-only to the one container that asked, and
//! gone with it. Neither the record of the container nor the history nor the cache has more of it
//! than its id: a step is the same step whatever its secrets are, as with BuildKit.

use std::io::Write as _;

use fs_err::{OpenOptions, os::unix::fs::OpenOptionsExt as _};
use tempfile::TempDir;

use super::{
    Execution,
    run::{Mounts, disk},
};
use crate::{BuildError, Problem, parse::Statement, plan::Step};

/// Longest secret, as with BuildKit (`session/secrets/secretsprovider`).
const LONGEST: usize = 500 << 10;

/// Where secrets are that have no place of their own, as with BuildKit.
const DIRECTORY: &str = "C:\\run\\secrets\\";

/// A secret that a step wants.
pub(super) struct Secret {
    /// Its id.
    pub(super) id: String,
    /// Whether the step fails without it.
    pub(super) required: bool,
}

/// What a mount's keys mean: the secret's id, and its place if none is given.
pub(super) fn named(
    id: Option<String>,
    source: Option<String>,
    target: &str,
) -> (String, Option<String>) {
    let last = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let id = source.or(id).unwrap_or_else(|| last(target));
    let place = target.is_empty().then(|| format!("{DIRECTORY}{}", last(&id)));
    (id, place)
}

impl Execution<'_> {
    /// Shows a secret to a container; one that is not there and not required is told of.
    pub(super) async fn show_secret(
        &self,
        Secret { id, required }: Secret,
        target: String,
        (step, mounts): (&Step, &mut Mounts),
    ) -> Result<(), BuildError> {
        let Some(content) = self.site.secrets.secret(&id).await? else {
            return self.no_secret(id, required, step).await;
        };
        if content.len() > LONGEST {
            let problem = Problem::LongSecret { name: id, limit: LONGEST };
            return Err(step.statement.error(problem).into());
        }
        let folder = self.site.secrets.folder().await?;
        let folder = tempfile::Builder::new().prefix("step-").tempdir_in(folder).map_err(disk)?;
        write(&folder, &content).map_err(disk)?;
        mounts.show(folder.path().join("secret"), target, true);
        mounts.keep(folder);
        Ok(())
    }

    /// Secrets are the client's, and the classic builder's clients send none.
    pub(super) async fn no_secret(
        &self,
        name: String,
        required: bool,
        step: &Step,
    ) -> Result<(), BuildError> {
        if required {
            return Err(missing(&step.statement, name));
        }
        self.report.note(step.id, &format!("[Warning] {name} is not there")).await
    }
}

fn missing(statement: &Statement, name: String) -> BuildError {
    statement.error(Problem::NoSecret { name }).into()
}

/// Writes a secret where only a mount of it can be read: the directory is the daemon's own.
fn write(folder: &TempDir, content: &[u8]) -> std::io::Result<()> {
    let path = folder.path().join("secret");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(path)?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_secret_has_a_name_and_a_place() {
        let some = |text: &str| Some(text.to_owned());
        let table = [
            ((some("token"), None, ""), ("token", some("C:\\run\\secrets\\token"))),
            ((some("a/b"), None, ""), ("a/b", some("C:\\run\\secrets\\b"))),
            ((None, None, "C:\\x\\.npmrc"), (".npmrc", None)),
            ((some("t"), some("s"), "C:\\x"), ("s", None)),
        ];
        for ((id, source, target), (name, place)) in table {
            assert_eq!(named(id, source, target), (name.to_owned(), place));
        }
    }
}
