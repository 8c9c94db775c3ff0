//! The Oriel command line.
//!
//! It speaks HTTP to a daemon and knows nothing else: what the stock Docker CLI does well is left
//! to it, and Oriel's own verbs live here. stdout is data, stderr is talk.

mod commands;
mod connection;
mod credentials;
mod diff;
mod lines;
mod progress;
mod registry;
mod screen;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use connection::{Client, Endpoint};

/// Windows containers on Linux.
#[derive(Parser)]
#[command(name = "oriel", version)]
struct Arguments {
    /// Daemon to talk to: unix:///path or tcp://host:port [default: unix:///run/oriel.sock]
    #[arg(short = 'H', long, global = true, env = "ORIEL_HOST", value_name = "HOST")]
    host: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look after the host
    #[command(subcommand)]
    System(SystemCommand),
    /// Make and list the base images
    #[command(subcommand)]
    Base(BaseCommand),
    /// Show the versions of this command and of the daemon
    Version,
    /// Show what the daemon says about itself
    Info,
    /// List containers
    Ps {
        /// Show containers that do not run, too
        #[arg(short, long)]
        all: bool,
    },
    /// List images
    Images,
    /// Change images
    #[command(subcommand)]
    Image(ImageCommand),
    /// List the files and registry keys that a container changed
    Diff(diff::Diff),
    /// Look at and change the registry of containers and images
    #[command(subcommand)]
    Registry(registry::RegistryCommand),
}

#[derive(Subcommand)]
enum ImageCommand {
    /// Give an image another base, such as Microsoft's, without fetching that
    Rebase(Rebase),
}

/// Arguments of `oriel image rebase`.
#[derive(clap::Args)]
struct Rebase {
    /// The image; it stays as it is
    image: String,
    /// The new base, in its registry
    #[arg(long, value_name = "IMAGE")]
    onto: String,
    /// Name for the result; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Go on although layers need the base the image has
    #[arg(long)]
    force: bool,
}

#[derive(Subcommand)]
enum SystemCommand {
    /// Tell what containers need from this host, and whether it is there
    Check,
}

#[derive(Subcommand)]
enum BaseCommand {
    /// Build the NT personality and the base images nanoserver and windowsservercore
    Build,
    /// List the base images
    Ls,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        // A reader such as `head` has what it wanted.
        Err(error) if screen::is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let host = arguments.host.or_else(|| std::env::var("DOCKER_HOST").ok());
    let endpoint = Endpoint::parse(host.as_deref().filter(|host| !host.is_empty()))?;
    let client = Client::new(endpoint);
    match arguments.command {
        Command::System(SystemCommand::Check) => commands::system_check(&client).await,
        Command::Base(BaseCommand::Build) => commands::base_build(&client).await,
        Command::Base(BaseCommand::Ls) => commands::base_list(&client).await,
        Command::Version => commands::version(&client).await,
        Command::Info => commands::info(&client).await,
        Command::Ps { all } => commands::containers(&client, all).await,
        Command::Images => commands::images(&client).await,
        Command::Image(ImageCommand::Rebase(wanted)) => {
            commands::image_rebase(&client, &wanted).await
        }
        Command::Diff(wanted) => diff::run(&client, &wanted).await,
        Command::Registry(command) => registry::run(&client, command).await,
    }
}

#[expect(clippy::print_stderr, reason = "the command line talks to a person here")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("oriel: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
