//! Verbs about the daemon and its host: `system`, `base`, `info`, `version`.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use oriel_api::system::{Base, BaseBuilt, Check, CheckLevel, Version};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;

use crate::{
    connection::{At, Client, NoDaemon},
    events::Events,
    format::{
        human::{short, size},
        json, render, row,
        template::Template,
    },
    progress::Progress,
    prune::PruneSystem,
    screen::{plain, print, talk},
    usage::DiskUsage,
};

#[derive(Subcommand)]
pub(crate) enum SystemCommand {
    /// Tell what containers need from this host, and whether it is there
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what takes up disk space
    Df(DiskUsage),
    /// Remove what nothing uses
    Prune(PruneSystem),
    /// Show what the daemon says about itself
    Info(Info),
    /// Show what happens, as it happens
    Events(Events),
    /// Join standard input and output to the daemon's socket; what ssh:// runs on its other end
    DialStdio,
    /// Write man pages and completions below a directory, for packages
    #[command(hide = true)]
    Manual {
        /// The directory
        directory: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum BaseCommand {
    /// Build the NT personality and the base images nanoserver and windowsservercore
    Build,
    /// List the base images
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct Info {
    /// json, or a Go template such as '{{.Name}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print JSON: short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// `oriel system check`
pub(crate) async fn check(client: &Client, as_json: bool) -> anyhow::Result<ExitCode> {
    let checks: Vec<Check> = match client.get(&At::path(&["oriel", "system", "check"])).await {
        Ok(checks) => checks,
        Err(error) => {
            let Some(missing) = error.downcast_ref::<NoDaemon>() else { return Err(error) };
            if missing.is_denied() {
                return Err(error);
            }
            return check_without_daemon(client);
        }
    };
    match as_json {
        true => print(&(json::indent(&serde_json::to_vec(&checks)?) + "\n"))?,
        false => print(&check_table(&checks))?,
    }
    Ok(verdict(&checks))
}

fn check_table(checks: &[Check]) -> String {
    let mut rows = vec![row(["CHECK", "VERDICT", "FINDING"])];
    for check in checks {
        let verdict = match check.level {
            CheckLevel::Ok => "ok",
            CheckLevel::Warning => "warning",
            CheckLevel::Failing => "failing",
        };
        rows.push(row([&check.name, verdict, &check.finding]));
        if !check.remedy.is_empty() {
            rows.push(row(["", "", &format!("-> {}", check.remedy)]));
        }
    }
    render(&rows)
}

fn verdict(checks: &[Check]) -> ExitCode {
    match checks.iter().any(|check| check.level == CheckLevel::Failing) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Lets the daemon's own binary look at the host, since no daemon can.
fn check_without_daemon(client: &Client) -> anyhow::Result<ExitCode> {
    let endpoint = client.endpoint();
    talk(&format!("the daemon is not running at {endpoint}; start it with:"));
    talk(&format!("  {}", endpoint.start_command()));
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    let daemon = own.with_file_name("orield");
    let status = Command::new(&daemon)
        .arg("check")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}; is it installed?", daemon.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `oriel base build`
pub(crate) async fn base_build(client: &Client) -> anyhow::Result<ExitCode> {
    let stream = client.post(&At::path(&["oriel", "base", "build"])).await?;
    let built = Progress::new(false).follow(stream).await?;
    let built = built.context("the daemon broke off the build; run the command again to resume")?;
    let built: BaseBuilt =
        serde_json::from_value(built).context("the daemon's result is not understood")?;
    print(&built_table(&built))?;
    Ok(ExitCode::SUCCESS)
}

fn built_table(built: &BaseBuilt) -> String {
    let mut rows = vec![row(["NAME", "ID", "TAR", "GZIP"])];
    for image in &built.images {
        let sizes = [size(image.tar_bytes), size(image.gzip_bytes)];
        rows.push(row([&image.name, &short(&image.id), &sizes[0], &sizes[1]]));
    }
    let (id, bytes) = (short(&built.personality.id), size(built.personality_bytes));
    rows.push(row(["(personality)", &id, &bytes, ""]));
    render(&rows)
}

/// `oriel base ls`
pub(crate) async fn base_list(client: &Client, as_json: bool) -> anyhow::Result<ExitCode> {
    let bytes = client.open(&At::path(&["oriel", "base"])).await?.bytes().await?;
    if as_json {
        print(&(json::indent(&bytes) + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let base: Base = serde_json::from_slice(&bytes).context("the answer is not understood")?;
    let mut rows = vec![row(["NAME", "ID", "SIZE"])];
    for image in &base.images {
        rows.push(row([&image.name, &short(&image.id), &size(image.size)]));
    }
    print(&render(&rows))?;
    match &base.personality {
        Some(personality) => {
            let (id, wine) = (short(&personality.id), &personality.wine_version);
            talk(&format!("personality {id}, Wine {wine}"));
        }
        None => talk("there is no NT personality yet; make it with: oriel base build"),
    }
    Ok(ExitCode::SUCCESS)
}

/// `oriel version`
pub(crate) async fn version(client: &Client, wanted: &Info) -> anyhow::Result<ExitCode> {
    let own = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": std::env::consts::OS,
        "Arch": std::env::consts::ARCH,
    });
    let at = At::path(&["version"]);
    if wanted.json || wanted.format.is_some() {
        let server: Value = client.get(&at).await?;
        let both = json!({ "Client": own, "Server": server });
        print(&formatted(&both, wanted)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&render(&[row(["Client", env!("CARGO_PKG_VERSION")])]))?;
    let daemon: Version = client.get(&at).await?;
    print(&render(&[
        row(["Daemon", &daemon.version]),
        row(["API", &format!("{} (from {})", daemon.api_version, daemon.min_api_version)]),
        row(["Presents", &format!("{} {} {}", daemon.os, daemon.kernel_version, daemon.arch)]),
    ]))?;
    Ok(ExitCode::SUCCESS)
}

fn formatted(value: &Value, wanted: &Info) -> anyhow::Result<String> {
    Ok(match wanted.format.as_deref().filter(|format| *format != "json") {
        Some(format) => Template::parse(format)?.execute(value)? + "\n",
        None => format!("{value}\n"),
    })
}

/// `oriel info`: every plain fact, one per line.
pub(crate) async fn info(client: &Client, wanted: &Info) -> anyhow::Result<ExitCode> {
    let info: Map<String, Value> = client.get(&At::path(&["info"])).await?;
    match wanted.json || wanted.format.is_some() {
        true => print(&formatted(&Value::Object(info), wanted)?)?,
        false => print(&info_table(&info))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn info_table(info: &Map<String, Value>) -> String {
    let mut rows = Vec::new();
    for (name, value) in info {
        match value {
            Value::String(text) if !text.is_empty() => rows.push(row([name, &plain(text)])),
            Value::Number(number) => rows.push(row([name, &number.to_string()])),
            Value::Bool(true) => rows.push(row([name, "yes"])),
            Value::Array(list) if name == "Warnings" => {
                rows.extend(list.iter().filter_map(Value::as_str).map(|w| row(["Warning", w])));
            }
            _ => {}
        }
    }
    render(&rows)
}

/// `oriel system dial-stdio`
pub(crate) async fn dial_stdio(client: &Client) -> anyhow::Result<ExitCode> {
    if std::io::stdin().is_terminal() {
        bail!("this is for programs; to talk to another machine use -H ssh://USER@HOST");
    }
    let (mut receiver, mut sender) = tokio::io::split(client.dial().await?);
    let (mut stdin, mut stdout) = (tokio::io::stdin(), tokio::io::stdout());
    let up = async {
        tokio::io::copy(&mut stdin, &mut sender).await?;
        sender.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut receiver, &mut stdout).await?;
        stdout.flush().await
    };
    tokio::pin!(up, down);
    tokio::select! {
        // The daemon has said all it will.
        ended = &mut down => ended?,
        ended = &mut up => {
            ended?;
            down.await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Labels of an answer, which may be `null`.
pub(crate) fn labels_of(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use oriel_api::system::{BuiltImage, Personality};

    use super::*;

    fn check(level: CheckLevel, remedy: &str) -> Check {
        Check { name: "cgroups".into(), level, finding: "found".into(), remedy: remedy.into() }
    }

    #[test]
    fn a_check_shows_verdict_finding_and_remedy() {
        let checks = [check(CheckLevel::Ok, ""), check(CheckLevel::Failing, "mount them")];
        let text = check_table(&checks);
        assert_eq!(
            text,
            "CHECK    VERDICT  FINDING\ncgroups  ok       found\ncgroups  failing  found\n\
             \x20                 -> mount them\n"
        );
    }

    #[test]
    fn the_result_of_a_base_build_is_a_table_of_sizes() {
        let built = BaseBuilt {
            personality: Personality { id: "abc".into(), wine_version: "10.0".into() },
            personality_bytes: 300_000_000,
            reused: false,
            images: vec![BuiltImage {
                name: "nanoserver".into(),
                id: "sha256:0123456789abcdef".into(),
                tar_bytes: 46_000_000,
                gzip_bytes: 17_000_000,
            }],
        };
        let text = built_table(&built);
        assert!(text.contains("nanoserver     0123456789ab  46.0MB   17.0MB\n"), "{text}");
        assert!(text.contains("(personality)  abc           300.0MB\n"), "{text}");
    }
}
