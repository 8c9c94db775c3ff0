//! `oriel create`, and what `oriel run` has in common with it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use oriel_api::container::CreateResponse;

use super::{
    options::{ContainerOptions, Pull},
    request::{self, Attached},
};
use crate::{
    connection::{At, Client, Refused},
    exit::coded,
    images::transfer,
    screen::{print, talk},
};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Create {
    #[command(flatten)]
    options: ContainerOptions,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// `oriel create`
pub(crate) async fn run(client: &Client, wanted: &Create) -> anyhow::Result<ExitCode> {
    let attached = Attached::of(&wanted.options, false).map_err(coded)?;
    let id = create(client, &wanted.options, attached).await.map_err(coded)?;
    print(&format!("{id}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a container, pulling its image as asked, and gives its id.
pub(super) async fn create(
    client: &Client,
    options: &ContainerOptions,
    attached: Attached,
) -> anyhow::Result<String> {
    let general = &options.general;
    let image = options.image_and_command.first().context("there is no image")?;
    let mut id_file = general.cidfile.as_deref().map(IdFile::new).transpose()?;
    let body = request::create(options, attached)?;
    let platform = general.platform.as_deref();
    if general.pull == Pull::Always {
        transfer::pull(client, image, platform, general.quiet).await?;
    }
    let at = At::path(&["containers", "create"])
        .maybe("name", general.name.as_deref())
        .maybe("platform", platform);
    let made = match client.post_json(&at, &body).await {
        Err(error) if is_missing(&error) && general.pull == Pull::Missing => {
            talk(&format!("the image {image:?} is not here; pulling it"));
            transfer::pull(client, image, platform, general.quiet).await?;
            client.post_json(&at, &body).await?
        }
        other => other?,
    };
    let made: CreateResponse = made.json().await?;
    made.warnings.iter().for_each(|warning| talk(&format!("warning: {warning}")));
    if let Some(file) = &mut id_file {
        file.write(&made.id)?;
    }
    Ok(made.id)
}

/// Whether the daemon lacks the image.
fn is_missing(error: &anyhow::Error) -> bool {
    Refused::is(error, 404) && error.to_string().to_lowercase().contains("no such image")
}

/// The file of `--cidfile`. Made before the container, so that two commands cannot share one.
struct IdFile<'a> {
    path: &'a Path,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn new(path: &'a Path) -> anyhow::Result<Self> {
        let made = fs_err::OpenOptions::new().write(true).create_new(true).open(path);
        made.with_context(|| {
            let path = path.display();
            format!("cannot make the file of --cidfile; remove {path} or name another")
        })?;
        Ok(Self { path, written: false })
    }

    fn write(&mut self, id: &str) -> anyhow::Result<()> {
        let mut file = fs_err::OpenOptions::new().write(true).open(self.path)?;
        file.write_all(id.as_bytes())?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            // Nothing was created, so nothing has an id.
            let _ = fs_err::remove_file(self.path);
        }
    }
}
