//! From a verb to the function that does it.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::{
    arguments::{Arguments, Command, ContainerCommand, ImageCommand},
    completion,
    connection::Client,
    containers::{
        attach, changes, copy, create, exec, lifecycle, list, logs, run as running, stats, update,
    },
    contexts, diff, events,
    images::{archives, build, list as image_list, manage, transfer},
    inspect, login, manual, networks, prune, registry,
    system::{self, BaseCommand, SystemCommand},
    usage, volumes,
};

/// Does what the arguments ask for.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { place, command } = arguments;
    // These need no daemon, and work when its address is wrong.
    match command {
        Command::Completion(wanted) => return completion::run(&wanted),
        Command::Context(command) => return contexts::run(&place, command),
        Command::Logout(wanted) => return login::logout(&wanted),
        Command::System(SystemCommand::Manual { directory }) => {
            return manual::write(Arguments::command(), &directory);
        }
        _ => {}
    }
    let client = place.client()?;
    of_daemon(&client, command).await
}

async fn of_daemon(client: &Client, command: Command) -> anyhow::Result<ExitCode> {
    use Command as C;
    match command {
        C::Login(wanted) => login::login(client, &wanted).await,
        C::Search(wanted) => manage::search(client, &wanted).await,
        C::Version(wanted) => system::version(client, &wanted).await,
        C::Info(wanted) => system::info(client, &wanted).await,
        C::Events(wanted) => events::run(client, &wanted).await,
        C::Inspect(wanted) => inspect::run(client, &wanted).await,
        C::Volume(command) => volumes::run(client, command).await,
        C::Network(command) => networks::run(client, command).await,
        C::Registry(command) => registry::run(client, command).await,
        C::Base(BaseCommand::Build) => system::base_build(client).await,
        C::Base(BaseCommand::Ls { json }) => system::base_list(client, json).await,
        C::System(command) => of_system(client, command).await,
        C::Image(command) => of_image(client, command).await,
        C::Container(command) => of_container(client, command).await,
        other => of_docker(client, other).await,
    }
}

/// Verbs that have a second name in a group.
async fn of_docker(client: &Client, command: Command) -> anyhow::Result<ExitCode> {
    use Command as C;
    use ContainerCommand as K;
    use ImageCommand as I;
    let of = match command {
        C::Build(wanted) => return of_image(client, I::Build(wanted)).await,
        C::History(wanted) => return of_image(client, I::History(wanted)).await,
        C::Images(wanted) => return of_image(client, I::Ls(wanted)).await,
        C::Import(wanted) => return of_image(client, I::Import(wanted)).await,
        C::Load(wanted) => return of_image(client, I::Load(wanted)).await,
        C::Pull(wanted) => return of_image(client, I::Pull(wanted)).await,
        C::Push(wanted) => return of_image(client, I::Push(wanted)).await,
        C::Rmi(wanted) => return of_image(client, I::Rm(wanted)).await,
        C::Save(wanted) => return of_image(client, I::Save(wanted)).await,
        C::Tag(wanted) => return of_image(client, I::Tag(wanted)).await,
        C::Attach(wanted) => K::Attach(wanted),
        C::Commit(wanted) => K::Commit(wanted),
        C::Cp(wanted) => K::Cp(wanted),
        C::Create(wanted) => K::Create(wanted),
        C::Diff(wanted) => K::Diff(wanted),
        C::Exec(wanted) => K::Exec(wanted),
        C::Export(wanted) => K::Export(wanted),
        C::Kill(wanted) => K::Kill(wanted),
        C::Logs(wanted) => K::Logs(wanted),
        C::Pause(wanted) => K::Pause(wanted),
        C::Port(wanted) => K::Port(wanted),
        C::Ps(wanted) => K::Ls(wanted),
        C::Rename(wanted) => K::Rename(wanted),
        C::Restart(wanted) => K::Restart(wanted),
        C::Rm(wanted) => K::Rm(wanted),
        C::Run(wanted) => K::Run(wanted),
        C::Start(wanted) => K::Start(wanted),
        C::Stats(wanted) => K::Stats(wanted),
        C::Stop(wanted) => K::Stop(wanted),
        C::Top(wanted) => K::Top(wanted),
        C::Unpause(wanted) => K::Unpause(wanted),
        C::Update(wanted) => K::Update(wanted),
        C::Wait(wanted) => K::Wait(wanted),
        _ => unreachable!("every other verb is one of a daemon, or of none"),
    };
    of_container(client, of).await
}

async fn of_container(client: &Client, command: ContainerCommand) -> anyhow::Result<ExitCode> {
    use ContainerCommand as K;
    match command {
        K::Attach(wanted) => attach::attach(client, wanted).await,
        K::Commit(wanted) => changes::commit(client, &wanted).await,
        K::Cp(wanted) => copy::copy(client, &wanted).await,
        K::Create(wanted) => create::run(client, &wanted).await,
        K::Diff(wanted) => diff::run(client, &wanted).await,
        K::Exec(wanted) => exec::run(client, wanted).await,
        K::Export(wanted) => copy::export(client, &wanted).await,
        K::Inspect(wanted) => inspect::of_kind(client, "container", &wanted).await,
        K::Kill(wanted) => lifecycle::kill(client, &wanted).await,
        K::Logs(wanted) => logs::run(client, &wanted).await,
        K::Ls(wanted) => list::run(client, &wanted).await,
        K::Pause(wanted) => lifecycle::simple(client, "pause", &wanted).await,
        K::Port(wanted) => lifecycle::port(client, &wanted).await,
        K::Prune(wanted) => {
            prune::run(client, &["containers"], "all stopped containers", &wanted).await
        }
        K::Rename(wanted) => lifecycle::rename(client, &wanted).await,
        K::Restart(wanted) => lifecycle::stop(client, "restart", &wanted).await,
        K::Rm(wanted) => lifecycle::remove(client, &wanted).await,
        K::Run(wanted) => running::run(client, *wanted).await,
        K::Start(wanted) => attach::start(client, wanted).await,
        K::Stats(wanted) => stats::run(client, &wanted).await,
        K::Stop(wanted) => lifecycle::stop(client, "stop", &wanted).await,
        K::Top(wanted) => lifecycle::top(client, &wanted).await,
        K::Unpause(wanted) => lifecycle::simple(client, "unpause", &wanted).await,
        K::Update(wanted) => update::run(client, &wanted).await,
        K::Wait(wanted) => lifecycle::wait(client, &wanted).await,
    }
}

async fn of_image(client: &Client, command: ImageCommand) -> anyhow::Result<ExitCode> {
    use ImageCommand as I;
    match command {
        I::Build(wanted) => build::run(client, &wanted).await,
        I::History(wanted) => image_list::history(client, &wanted).await,
        I::Import(wanted) => archives::import(client, &wanted).await,
        I::Inspect(wanted) => inspect::of_kind(client, "image", &wanted).await,
        I::Load(wanted) => archives::load(client, &wanted).await,
        I::Ls(wanted) => image_list::run(client, &wanted).await,
        I::Prune(wanted) => prune::images(client, &wanted).await,
        I::Pull(wanted) => transfer::run_pull(client, &wanted).await,
        I::Push(wanted) => transfer::run_push(client, &wanted).await,
        I::Rebase(wanted) => manage::rebase(client, &wanted).await,
        I::Rm(wanted) => manage::remove(client, &wanted).await,
        I::Save(wanted) => archives::save(client, &wanted).await,
        I::Tag(wanted) => manage::tag(client, &wanted).await,
    }
}

async fn of_system(client: &Client, command: SystemCommand) -> anyhow::Result<ExitCode> {
    match command {
        SystemCommand::Check { json } => system::check(client, json).await,
        SystemCommand::Df(wanted) => usage::run(client, &wanted).await,
        SystemCommand::Prune(wanted) => prune::system(client, &wanted).await,
        SystemCommand::Info(wanted) => system::info(client, &wanted).await,
        SystemCommand::Events(wanted) => events::run(client, &wanted).await,
        SystemCommand::DialStdio => system::dial_stdio(client).await,
        SystemCommand::Manual { directory } => manual::write(Arguments::command(), &directory),
    }
}
