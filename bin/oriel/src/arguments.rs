//! What the command line takes: one variant for each verb.

use clap::{Parser, Subcommand};

use crate::{
    completion::Completion,
    containers::{
        attach::{Attach, Start},
        changes::Commit,
        copy::{Copy, Export},
        create::Create,
        exec::Exec,
        lifecycle::{Kill, Port, Remove, Rename, Several, Stop, Top},
        list::List,
        logs::Logs,
        run::Run,
        stats::Stats,
        update::Update,
    },
    contexts::ContextCommand,
    diff::Diff,
    events::Events,
    images::{
        archives::{Import, Load, Save},
        build::Build,
        list::{History, List as ImageList},
        manage::{Rebase, Remove as ImageRemove, Search, Tag},
        transfer::{Pull, Push},
    },
    inspect::{Inspect, InspectAny},
    login::{Login, Logout},
    networks::NetworkCommand,
    place::Place,
    prune::{Prune, PruneImages},
    registry::RegistryCommand,
    system::{BaseCommand, Info, SystemCommand},
    volumes::VolumeCommand,
};

/// Windows containers on Linux
#[derive(Parser)]
#[command(
    name = "oriel",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    infer_long_args = false,
    after_help = "Help on a verb: oriel VERB --help, or man oriel-VERB"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a container, start it and stay with it
    Run(Box<Run>),
    /// Run one more program in a container
    Exec(Exec),
    /// List containers
    Ps(List),
    /// Build an image from a Dockerfile
    Build(Box<Build>),
    /// Fetch an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// List images
    Images(ImageList),
    /// Log in to a registry
    Login(Login),
    /// Log out of a registry
    Logout(Logout),
    /// Look for images on Docker Hub
    Search(Search),
    /// Show the versions of this command and of the daemon
    Version(Info),
    /// Show what the daemon says about itself
    Info(Info),
    /// Look after containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Look after images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Look after volumes
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Look after networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Look at and change the registry of containers and images
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Make and list the base images
    #[command(subcommand)]
    Base(BaseCommand),
    /// Look after the daemon and its host
    #[command(subcommand)]
    System(SystemCommand),
    /// Look after the ways to daemons
    #[command(subcommand)]
    Context(ContextCommand),
    /// Join a container that runs
    Attach(Attach),
    /// Make an image of what a container changed
    Commit(Commit),
    /// Copy files into and out of containers
    Cp(Copy),
    /// Create a container
    Create(Box<Create>),
    /// List the files and registry keys that a container changed
    Diff(Diff),
    /// Show what happens, as it happens
    Events(Events),
    /// Write a container's files as a tar
    Export(Export),
    /// Show how an image was made
    History(History),
    /// Make an image of a tar of files
    Import(Import),
    /// Show all about containers, images, networks or volumes
    Inspect(InspectAny),
    /// Send containers a signal; KILL unless told otherwise
    Kill(Kill),
    /// Take images from a file that save wrote
    Load(Load),
    /// Show what a container has written
    Logs(Logs),
    /// Stop every program of containers for a while
    Pause(Several),
    /// Show which ports of a container are published
    Port(Port),
    /// Give a container another name
    Rename(Rename),
    /// Stop containers and start them again
    Restart(Stop),
    /// Remove containers
    Rm(Remove),
    /// Remove images
    Rmi(ImageRemove),
    /// Write images to a file
    Save(Save),
    /// Start containers
    Start(Start),
    /// Show what containers use, again and again
    Stats(Stats),
    /// Stop containers
    Stop(Stop),
    /// Give an image one more name
    Tag(Tag),
    /// Show the processes of a container
    Top(Top),
    /// Let paused containers go on
    Unpause(Several),
    /// Change limits of containers
    Update(Box<Update>),
    /// Wait until containers end, and print their exit codes
    Wait(Several),
    /// Print what a shell needs to complete arguments
    Completion(Completion),
}

/// Docker's other names for verbs about containers.
#[derive(Subcommand)]
pub(crate) enum ContainerCommand {
    /// Create a container, start it and stay with it
    Run(Box<Run>),
    /// Run one more program in a container
    Exec(Exec),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(List),
    /// Join a container that runs
    Attach(Attach),
    /// Make an image of what a container changed
    Commit(Commit),
    /// Copy files into and out of containers
    Cp(Copy),
    /// Create a container
    Create(Box<Create>),
    /// List the files and registry keys that a container changed
    Diff(Diff),
    /// Write a container's files as a tar
    Export(Export),
    /// Show all about containers
    Inspect(Inspect),
    /// Send containers a signal; KILL unless told otherwise
    Kill(Kill),
    /// Show what a container has written
    Logs(Logs),
    /// Stop every program of containers for a while
    Pause(Several),
    /// Show which ports of a container are published
    Port(Port),
    /// Remove containers that do not run
    Prune(Prune),
    /// Give a container another name
    Rename(Rename),
    /// Stop containers and start them again
    Restart(Stop),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Start containers
    Start(Start),
    /// Show what containers use, again and again
    Stats(Stats),
    /// Stop containers
    Stop(Stop),
    /// Show the processes of a container
    Top(Top),
    /// Let paused containers go on
    Unpause(Several),
    /// Change limits of containers
    Update(Box<Update>),
    /// Wait until containers end, and print their exit codes
    Wait(Several),
}

/// Docker's other names for verbs about images, and Oriel's own.
#[derive(Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<Build>),
    /// Show how an image was made
    History(History),
    /// Make an image of a tar of files
    Import(Import),
    /// Show all about images
    Inspect(Inspect),
    /// Take images from a file that save wrote
    Load(Load),
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImageList),
    /// Remove images that no container uses
    Prune(PruneImages),
    /// Fetch an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Give an image another base, such as Microsoft's, without fetching that
    Rebase(Rebase),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(ImageRemove),
    /// Write images to a file
    Save(Save),
    /// Give an image one more name
    Tag(Tag),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_and_option_is_explained() {
        fn look(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
            }
            for verb in command.get_subcommands() {
                look(verb, &format!("{path} {}", verb.get_name()));
            }
        }
        look(&Arguments::command(), "oriel");
    }
}
