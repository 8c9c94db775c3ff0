//! The verbs.

use std::{
    process::{Command, ExitCode, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use oriel_api::{
    Line, container, image, percent_encode,
    system::{Base, BaseBuilt, Check, CheckLevel, Version},
};
use serde_json::Value;

use crate::{
    Rebase,
    connection::{Client, NoDaemon},
    credentials,
    progress::Progress,
    table::{ago, render, short, size},
};

/// Longest line of a progress stream; a daemon that sends a longer one is not ours.
const MAX_LINE: usize = 1 << 20;

/// `oriel system check`
pub(crate) async fn system_check(client: &Client) -> anyhow::Result<ExitCode> {
    let checks: Vec<Check> = match client.get("/oriel/system/check").await {
        Ok(checks) => checks,
        Err(error) => {
            let Some(missing) = error.downcast_ref::<NoDaemon>() else { return Err(error) };
            if missing.is_denied() {
                return Err(error);
            }
            return check_without_daemon(client);
        }
    };
    print(&check_table(&checks));
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
    let mut stream = client.post("/oriel/base/build").await?;
    let mut progress = Progress::new();
    let mut waiting = Vec::new();
    let mut built = None;
    while let Some(piece) = stream.piece().await? {
        waiting.extend_from_slice(&piece);
        for line in whole_lines(&mut waiting)? {
            if let Some(message) = line.error_detail.map(|d| d.message).or(line.error.clone()) {
                progress.finish();
                bail!("{message}");
            }
            match line.aux {
                Some(aux) => built = Some(aux),
                None => progress.show(&Line { error_detail: None, ..line }),
            }
        }
    }
    progress.finish();
    let built = built.context("the daemon broke off the build; run the command again to resume")?;
    let built: BaseBuilt =
        serde_json::from_value(built).context("the daemon's result is not understood")?;
    print(&built_table(&built));
    Ok(ExitCode::SUCCESS)
}

/// Takes the complete lines off the front.
fn whole_lines(waiting: &mut Vec<u8>) -> anyhow::Result<Vec<Line>> {
    let Some(end) = waiting.iter().rposition(|byte| *byte == b'\n') else {
        if waiting.len() > MAX_LINE {
            bail!("the daemon sent a line of more than {MAX_LINE} bytes");
        }
        return Ok(Vec::new());
    };
    let rest = waiting.split_off(end + 1);
    let whole = std::mem::replace(waiting, rest);
    let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).context("the daemon's answer is not understood"))
        .collect()
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
pub(crate) async fn base_list(client: &Client) -> anyhow::Result<ExitCode> {
    let base: Base = client.get("/oriel/base").await?;
    let mut rows = vec![row(["NAME", "ID", "SIZE"])];
    for image in &base.images {
        rows.push(row([&image.name, &short(&image.id), &size(image.size)]));
    }
    match &base.personality {
        Some(personality) => {
            print(&render(&rows));
            let (id, wine) = (short(&personality.id), &personality.wine_version);
            talk(&format!("personality {id}, Wine {wine}"));
        }
        None => {
            print(&render(&rows));
            talk("there is no NT personality yet; make it with: oriel base build");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `oriel version`
pub(crate) async fn version(client: &Client) -> anyhow::Result<ExitCode> {
    let own = env!("CARGO_PKG_VERSION");
    print(&render(&[row(["Client", own])]));
    let daemon: Version = client.get("/version").await?;
    print(&render(&[
        row(["Daemon", &daemon.version]),
        row(["API", &format!("{} (from {})", daemon.api_version, daemon.min_api_version)]),
        row(["Presents", &format!("{} {} {}", daemon.os, daemon.kernel_version, daemon.arch)]),
    ]));
    Ok(ExitCode::SUCCESS)
}

/// `oriel info`: every plain fact, one per line.
pub(crate) async fn info(client: &Client) -> anyhow::Result<ExitCode> {
    let info: serde_json::Map<String, Value> = client.get("/info").await?;
    print(&info_table(&info));
    Ok(ExitCode::SUCCESS)
}

fn info_table(info: &serde_json::Map<String, Value>) -> String {
    let mut rows = Vec::new();
    for (name, value) in info {
        match value {
            Value::String(text) if !text.is_empty() => rows.push(row([name, text])),
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

/// `oriel ps`
pub(crate) async fn containers(client: &Client, all: bool) -> anyhow::Result<ExitCode> {
    let path = if all { "/containers/json?all=1" } else { "/containers/json" };
    let list: Vec<container::Summary> = client.get(path).await?;
    let now = now();
    let mut rows =
        vec![row(["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"])];
    for container in &list {
        let names: Vec<_> =
            container.names.iter().map(|name| name.trim_start_matches('/')).collect();
        let ports: Vec<_> = container.ports.iter().map(port).collect();
        rows.push(row([
            &short(&container.id),
            &container.image,
            &clip(&container.command),
            &ago(now, container.created),
            &container.status,
            &ports.join(", "),
            &names.join(","),
        ]));
    }
    print(&render(&rows));
    Ok(ExitCode::SUCCESS)
}

fn port(port: &container::Port) -> String {
    let inside = format!("{}/{}", port.private_port, port.kind);
    match (&port.ip, port.public_port) {
        (Some(ip), Some(public)) => format!("{ip}:{public}->{inside}"),
        (None, Some(public)) => format!("{public}->{inside}"),
        _ => inside,
    }
}

/// Cuts a command line to what a table has room for.
fn clip(command: &str) -> String {
    const ROOM: usize = 30;
    if command.chars().count() <= ROOM {
        return format!("\"{command}\"");
    }
    format!("\"{}…\"", command.chars().take(ROOM - 1).collect::<String>())
}

/// `oriel images`
pub(crate) async fn images(client: &Client) -> anyhow::Result<ExitCode> {
    let list: Vec<image::Summary> = client.get("/images/json").await?;
    let now = now();
    let mut rows = vec![row(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"])];
    for image in &list {
        let none = ["<none>:<none>".to_owned()];
        let names = if image.repo_tags.is_empty() { &none[..] } else { &image.repo_tags };
        for name in names {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
            let created = ago(now, image.created);
            rows.push(row([repository, tag, &short(&image.id), &created, &size(image.size)]));
        }
    }
    print(&render(&rows));
    Ok(ExitCode::SUCCESS)
}

/// `oriel image rebase`
pub(crate) async fn image_rebase(client: &Client, wanted: &Rebase) -> anyhow::Result<ExitCode> {
    let mut path = format!(
        "/oriel/images/{}/rebase?onto={}&force={}",
        percent_encode(&wanted.image),
        percent_encode(&wanted.onto),
        wanted.force
    );
    for tag in &wanted.tags {
        path += &format!("&t={}", percent_encode(tag));
    }
    let made: Value =
        client.post_as(&path, credentials::header(&wanted.onto)).await?.json().await?;
    let id = made["Id"].as_str().context("the daemon's answer has no image id")?;
    print(&format!("{id}\n"));
    Ok(ExitCode::SUCCESS)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// Writes data to standard output. A reader that has gone away, such as `head`, is no error.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[expect(clippy::print_stderr, reason = "talk goes to standard error")]
pub(crate) fn talk(text: &str) {
    eprintln!("{text}");
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
    fn lines_are_taken_whole_however_they_arrive() {
        let mut waiting = b"{\"id\":\"a\",\"status\":\"x\"}\r\n{\"id\"".to_vec();
        let lines = whole_lines(&mut waiting).unwrap();
        assert_eq!(lines, [Line::status("a", "x")]);
        assert_eq!(waiting, b"{\"id\"");
        waiting.extend_from_slice(b":\"b\",\"status\":\"y\"}\n");
        assert_eq!(whole_lines(&mut waiting).unwrap(), [Line::status("b", "y")]);
        assert!(whole_lines(&mut b"not json\n".to_vec()).is_err());
        assert!(whole_lines(&mut vec![b'x'; MAX_LINE + 1]).is_err());
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

    #[test]
    fn ports_and_commands_fit_a_table() {
        let mut mapped = container::Port {
            ip: Some("0.0.0.0".into()),
            private_port: 80,
            public_port: Some(8080),
            kind: "tcp".into(),
        };
        assert_eq!(port(&mapped), "0.0.0.0:8080->80/tcp");
        mapped.public_port = None;
        assert_eq!(port(&mapped), "80/tcp");
        assert_eq!(clip("cmd"), "\"cmd\"");
        assert_eq!(clip(&"x".repeat(40)).chars().count(), 32);
    }
}
