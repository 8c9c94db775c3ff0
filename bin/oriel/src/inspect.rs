//! `oriel inspect`: all about things, as the daemon says it.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::{
    completion,
    connection::{At, Client, Refused},
    format::show_documents,
    screen::talk,
};

/// Kinds, in the order in which a name is looked for, as Docker does.
const KINDS: &[&str] = &["container", "image", "network", "volume"];

/// Options of every inspect.
#[derive(Args)]
pub(crate) struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "NAME", add = completion::anything())]
    names: Vec<String>,
    /// A Go template such as '{{.Id}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Containers: say how large they are
    #[arg(short, long)]
    size: bool,
}

#[derive(Args)]
pub(crate) struct InspectAny {
    #[command(flatten)]
    inspect: Inspect,
    /// Kind of thing: container, image, network, volume
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
}

/// `oriel inspect`
pub(crate) async fn run(client: &Client, wanted: &InspectAny) -> anyhow::Result<ExitCode> {
    let kinds = match wanted.kind.as_deref() {
        None => KINDS,
        Some(kind) => match KINDS.iter().position(|known| *known == kind) {
            Some(at) => &KINDS[at..=at],
            None => bail!("there is no kind {kind:?}; there are {}", KINDS.join(", ")),
        },
    };
    of_kinds(client, kinds, &wanted.inspect).await
}

/// `oriel KIND inspect`
pub(crate) async fn of_kind(
    client: &Client,
    kind: &'static str,
    wanted: &Inspect,
) -> anyhow::Result<ExitCode> {
    of_kinds(client, &[kind], wanted).await
}

async fn of_kinds(client: &Client, kinds: &[&str], wanted: &Inspect) -> anyhow::Result<ExitCode> {
    let mut documents = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for name in &wanted.names {
        match find(client, kinds, name, wanted.size).await {
            Ok(document) => documents.push(document),
            Err(error) if error.is::<Refused>() => {
                talk(&format!("oriel: {error:#}"));
                code = ExitCode::FAILURE;
            }
            Err(error) => return Err(error),
        }
    }
    show_documents(&documents, wanted.format.as_deref())?;
    Ok(code)
}

/// The first thing of this name.
async fn find(client: &Client, kinds: &[&str], name: &str, size: bool) -> anyhow::Result<Vec<u8>> {
    for kind in kinds {
        let at = match *kind {
            "container" => At::path(&["containers", name, "json"]).flag("size", size),
            "image" => At::path(&["images", name, "json"]),
            "network" => At::path(&["networks", name]),
            _ => At::path(&["volumes", name]),
        };
        match client.open(&at).await {
            Ok(answer) => return answer.bytes().await,
            Err(error) if Refused::is(&error, 404) && kinds.len() > 1 => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("No such object: {name}");
    Err(Refused { status: 404, message }.into())
}
