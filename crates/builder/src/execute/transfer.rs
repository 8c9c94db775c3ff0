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
        let owner = self.owner(state, transfer, step).await?;
        let Taken { chosen, from, label } = self.take(state, transfer, step).await?;
        let written = written.replace('/', "\\");
        let created_by = format!("{} #(nop) {keyword} {owner}{label} in {written} ", state.shell());
        let record = Record { created_by };
        if self.cached(state, &record, step.id).await? {
            return Ok(());
        }
        let commit = self.commit(state, record, None);
        let (kind, cancelled) = (transfer.kind, self.report.probe());
        let unpacks = transfer.unpack.unwrap_or(kind == TransferKind::Add);
        let context = Arc::clone(&self.context);
        let write = move |images: &ImageStore| {
            let write = |source: Option<&SandboxFiles>| {
                in_sandbox(images, commit, |files| {
                    let (scratch, cancelled) = (context.scratch(), &cancelled);
                    let writer = Writer { files, source, kind, unpacks, scratch, cancelled };
                    writer.write(&chosen, &to)
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

    /// Checks the flags that say whose the files are; returns them as the history has them.
    async fn owner(
        &self,
        state: &State,
        transfer: &Transfer,
        step: &Step,
    ) -> Result<String, BuildError> {
        if transfer.chmod {
            let text = "[Warning] --chmod has no effect: Windows has no modes";
            self.report.note(step.id, text).await?;
        }
        let Some(account) = &transfer.chown else { return Ok(String::new()) };
        let account = self.expand(state, &step.statement, account)?;
        let keyword = transfer.kind.keyword();
        check_account(&account).map_err(|problem| BuildError::Transfer { keyword, problem })?;
        let text = "[Warning] --chown has no effect: files of images carry no owner yet";
        self.report.note(step.id, text).await?;
        Ok(format!("--chown={account} "))
    }

    async fn take(
        &self,
        state: &State,
        transfer: &Transfer,
        step: &Step,
    ) -> Result<Taken, BuildError> {
        let keyword = transfer.kind.keyword();
        let sources = state.expand_all(&step.statement, self.escape, &transfer.sources)?;
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
        let keep = if transfer.parents { Keep::Parents } else { Keep::Name };
        let context = Arc::clone(&self.context);
        self.blocking(move |images| {
            let fail = |problem| BuildError::Transfer { keyword, problem };
            let mut chosen = match from {
                _ if sources.is_empty() => Vec::new(),
                None => copy::from_context(&context, &sources, keep).map_err(fail)?,
                Some(image) => {
                    reading(images, &image, |files| copy::from_image(files, &sources, keep))?
                }
            };
            chosen = copy::exclude(chosen, &excluded).map_err(fail)?;
            chosen.extend(copy::from_texts(&context, texts).map_err(fail)?);
            let label = copy::label(&chosen, from.as_ref());
            Ok(Taken { chosen, from, label })
        })
        .await
    }
}

/// Accounts that `--chown` may name: Docker's on Windows, by name or by SID.
fn check_account(account: &str) -> Result<(), TransferError> {
    const ACCOUNTS: &[&str] = &[
        "ContainerAdministrator",
        "ContainerUser",
        "S-1-5-93-2-1",
        "S-1-5-93-2-2",
        "Administrators",
        "BUILTIN\\Administrators",
        "User Manager\\ContainerAdministrator",
        "User Manager\\ContainerUser",
    ];
    if ACCOUNTS.iter().any(|known| known.eq_ignore_ascii_case(account)) {
        return Ok(());
    }
    Err(TransferError::UnknownAccount { account: account.to_owned() })
}
