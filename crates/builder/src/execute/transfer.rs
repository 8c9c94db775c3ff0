//! `COPY` and `ADD`.

use std::sync::Arc;

use oriel_image::{ImageId, ImageStore, SandboxFiles};

use super::{Execution, cache::Record, in_sandbox, reading};
use crate::{
    BuildError, TransferError,
    copy::{self, Chosen, Keep, Writer},
    parse::{Transfer, TransferKind},
    paths,
    plan::Step,
    state::State,
};

/// What an instruction takes, chosen and not yet copied.
struct Taken {
    chosen: Vec<Chosen>,
    /// How many of them, at the end, were fetched.
    fetched: usize,
    /// Where it is taken from, when that is an image.
    from: Option<ImageId>,
    /// What it is called in the history.
    label: String,
}

impl Execution<'_> {
    pub(super) async fn transfer(
        &self,
        state: &mut State,
        transfer: &Transfer,
        step: &Step,
    ) -> Result<(), BuildError> {
        let keyword = transfer.kind.keyword();
        let fail = |problem: TransferError| BuildError::Transfer { keyword, problem };
        let written = self.expand(state, &step.statement, &transfer.destination)?;
        let to = paths::destination(&state.config.working_dir, &written)
            .map_err(|problem| fail(problem.into()))?;
        let (owner, flags) = self.owner(state, transfer, step).await?;
        let Taken { chosen, fetched, from, label } = self.take(state, transfer, step).await?;
        if chosen.len() > 1 && !to.directory {
            return Err(fail(TransferError::NotADirectory { keyword }));
        }
        let written = written.replace('/', "\\");
        let created_by = format!("{} #(nop) {keyword} {flags}{label} in {written} ", state.shell());
        let record = Record { created_by };
        if self.cached(state, &record, step.id).await? {
            return Ok(());
        }
        let commit = self.commit(state, record, None);
        let (kind, cancelled) = (transfer.kind, self.report.probe());
        // What is fetched is unpacked only when asked for.
        let (asked, local) = (transfer.unpack, chosen.len() - fetched);
        let (unpacks, unpacks_fetched) =
            (asked.unwrap_or(kind == TransferKind::Add), asked.unwrap_or_default());
        let (context, footing) = (Arc::clone(&self.context), Arc::clone(&self.footing));
        let write = move |images: &ImageStore| {
            let write = |source: Option<&SandboxFiles>| {
                in_sandbox((images, &footing), commit, |files| {
                    let (scratch, cancelled) = (context.scratch(), &cancelled);
                    let mut writer =
                        Writer { files, source, kind, unpacks, owner, scratch, cancelled };
                    writer.write(&chosen[..local], &to)?;
                    writer.unpacks = unpacks_fetched;
                    writer.write(&chosen[local..], &to)
                })
            };
            match from {
                None => write(None),
                Some(image) => reading(images, &image, |files| write(Some(files))),
            }
        };
        state.image = self.blocking(write).await?;
        Ok(())
    }

    /// Whose the files are to be, and the flags that change what is written as the history has
    /// them.
    async fn owner(
        &self,
        state: &State,
        transfer: &Transfer,
        step: &Step,
    ) -> Result<(Option<&'static str>, String), BuildError> {
        if transfer.chmod {
            let text = "[Warning] --chmod has no effect: Windows has no modes";
            self.report.note(step.id, text).await?;
        }
        let mut flags = match transfer.unpack {
            Some(unpack) => format!("--unpack={unpack} "),
            None => String::new(),
        };
        let Some(account) = &transfer.chown else { return Ok((None, flags)) };
        let account = self.expand(state, &step.statement, account)?;
        let keyword = transfer.kind.keyword();
        let owner = sid_of(&account);
        let owner = owner.map_err(|problem| BuildError::Transfer { keyword, problem })?;
        flags.insert_str(0, &format!("--chown={account} "));
        Ok((Some(owner), flags))
    }

    async fn take(
        &self,
        state: &State,
        transfer: &Transfer,
        step: &Step,
    ) -> Result<Taken, BuildError> {
        let keyword = transfer.kind.keyword();
        let statement = &step.statement;
        let mut sources = state.expand_all(statement, self.escape, &transfer.sources)?;
        let excluded = state.expand_all(&step.statement, self.escape, &transfer.exclude)?;
        let texts = transfer.documents.iter();
        let texts = texts
            .map(|document| {
                let text = state.expand_document(&step.statement, self.escape, document)?;
                Ok((document.name.clone(), text))
            })
            .collect::<Result<Vec<_>, BuildError>>()?;
        let from = match &step.source {
            Some(base) => Some(self.begin(base, step.id).await?.image),
            None => None,
        };
        let fetched = match transfer.kind {
            TransferKind::Copy => Vec::new(),
            TransferKind::Add => {
                let checksum = transfer.checksum.as_ref();
                let checksum = checksum.map(|text| self.expand(state, statement, text));
                self.fetched(transfer, &mut sources, (statement, checksum.transpose()?)).await?
            }
        };
        let keep = if transfer.parents { Keep::Parents } else { Keep::Name };
        let (context, cancelled) = (Arc::clone(&self.context), self.report.probe());
        self.blocking(move |images| {
            let fail = |problem| BuildError::Transfer { keyword, problem };
            let take = |files: Option<&SandboxFiles>| {
                let chosen = match files {
                    _ if sources.is_empty() => Vec::new(),
                    None => copy::from_context(&context, &sources, keep).map_err(fail)?,
                    Some(files) => copy::from_image(files, &sources, keep)?,
                };
                let mut chosen = copy::exclude(chosen, &excluded).map_err(fail)?;
                chosen.extend(copy::from_texts(&context, texts).map_err(fail)?);
                let count = fetched.len();
                chosen.extend(copy::from_web(fetched));
                let label = copy::label(&chosen, files, &cancelled)?;
                Ok(Taken { chosen, fetched: count, from, label })
            };
            match from {
                None => take(None),
                Some(image) => reading(images, &image, |files| take(Some(files))),
            }
        })
        .await
    }
}

/// The SID of an account that `--chown` may name: those that every Windows container has, by name
/// or by SID.
fn sid_of(account: &str) -> Result<&'static str, TransferError> {
    const ACCOUNTS: &[(&str, &[&str])] = &[
        ("S-1-5-93-2-1", &["ContainerAdministrator", "User Manager\\ContainerAdministrator"]),
        ("S-1-5-93-2-2", &["ContainerUser", "User Manager\\ContainerUser"]),
        ("S-1-5-32-544", &["Administrators", "BUILTIN\\Administrators"]),
        ("S-1-5-32-545", &["Users", "BUILTIN\\Users"]),
        ("S-1-5-18", &["SYSTEM", "NT AUTHORITY\\SYSTEM"]),
        ("S-1-5-19", &["LOCAL SERVICE", "NT AUTHORITY\\LOCAL SERVICE"]),
        ("S-1-5-20", &["NETWORK SERVICE", "NT AUTHORITY\\NETWORK SERVICE"]),
        ("S-1-5-11", &["Authenticated Users", "NT AUTHORITY\\Authenticated Users"]),
        ("S-1-1-0", &["Everyone"]),
    ];
    let same = |name: &str| name.eq_ignore_ascii_case(account);
    let known = ACCOUNTS.iter().find(|(sid, names)| same(sid) || names.iter().any(|n| same(n)));
    let unknown = || TransferError::UnknownAccount { account: account.to_owned() };
    known.map(|(sid, _)| *sid).ok_or_else(unknown)
}
