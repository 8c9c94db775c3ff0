//! What a step has made ready for the next `RUN` of its stage while it runs.
//!
//! A container that runs a command takes longer to boot than most commands take. Whatever comes
//! next is known, so the host may boot it beside the command; see [`BuildHost::expect_run`].

use crate::{
    BuildHost, ExpectedRun, HostError, RunContainer, RunStep,
    parse::{Instruction, Run},
    plan::Step,
};

/// How a stage goes on, and what is ready for that.
#[derive(Default)]
pub(crate) struct Ahead {
    /// The next `RUN`, when nothing before it changes what its container is made of: whether it has
    /// no network.
    next: Option<bool>,
    expected: Option<ExpectedRun>,
}

impl Ahead {
    /// Tells which steps come after the one that is executed.
    pub(crate) fn look(&mut self, following: &[Step]) {
        let next = following.iter().find_map(|step| match &step.statement.instruction {
            Instruction::Run(run) => Some(is_plain(run).then_some(run.no_network)),
            Instruction::Env(_)
            | Instruction::Arg(_)
            | Instruction::User(_)
            | Instruction::Volume(_) => Some(None),
            _ => None,
        });
        self.next = next.flatten();
    }

    /// Gets the container of a step, and has the one after it expected.
    pub(crate) async fn container(
        &mut self,
        host: &dyn BuildHost,
        (wish, run): (&RunStep, &Run),
    ) -> Result<RunContainer, HostError> {
        let claimed = match self.expected.take() {
            Some(expected) if wish.mounts.is_empty() => host.claim_run(expected, wish).await,
            _ => None,
        };
        let container = match claimed {
            Some(container) => container,
            None => host.create_run(wish).await?,
        };
        if self.next == Some(run.no_network) {
            let like = RunStep { mounts: Vec::new(), ..wish.clone() };
            self.expected = host.expect_run(&like, &container);
        }
        Ok(container)
    }
}

/// Whether nothing is mounted for it.
fn is_plain(run: &Run) -> bool {
    run.mounts.is_empty() && run.documents.is_empty()
}
