//! Verbs that do one thing to one or several containers.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use oriel_api::container::WaitResponse;
use serde_json::Value;

use super::each;
use crate::{
    completion,
    connection::{At, Client},
    format::render,
    screen::{plain, print},
};

/// Containers to do something to.
#[derive(Args)]
pub(crate) struct Several {
    /// Containers
    #[arg(required = true, value_name = "CONTAINER", add = completion::containers())]
    pub(super) containers: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    several: Several,
    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before it is killed; -1 is for ever
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,
}

#[derive(Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    several: Several,
    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
}

#[derive(Args)]
pub(crate) struct Rename {
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Its new name
    name: String,
}

#[derive(Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    several: Several,
    /// Kill it first, if it runs
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Remove a link instead
    #[arg(short, long, hide = true)]
    link: bool,
}

#[derive(Args)]
pub(crate) struct Top {
    /// Container
    #[arg(add = completion::running())]
    container: String,
    /// Options of ps; Windows containers take none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Port {
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Only this port inside, such as 80 or 80/udp
    port: Option<String>,
}

/// `oriel stop` and `oriel restart`
pub(crate) async fn stop(client: &Client, verb: &str, wanted: &Stop) -> anyhow::Result<ExitCode> {
    each(&wanted.several.containers, async |id: &str| {
        let at = At::path(&["containers", id, verb])
            .maybe("signal", wanted.signal.as_deref())
            .maybe("t", wanted.time);
        client.post(&at).await.map(|_| id.to_owned())
    })
    .await
}

/// `oriel kill`
pub(crate) async fn kill(client: &Client, wanted: &Kill) -> anyhow::Result<ExitCode> {
    each(&wanted.several.containers, async |id: &str| {
        let at = At::path(&["containers", id, "kill"]).with("signal", &wanted.signal);
        client.post(&at).await.map(|_| id.to_owned())
    })
    .await
}

/// `oriel pause` and `oriel unpause`
pub(crate) async fn simple(
    client: &Client,
    verb: &str,
    wanted: &Several,
) -> anyhow::Result<ExitCode> {
    each(&wanted.containers, async |id: &str| {
        client.post(&At::path(&["containers", id, verb])).await.map(|_| id.to_owned())
    })
    .await
}

/// `oriel wait`: prints the exit codes, whole.
pub(crate) async fn wait(client: &Client, wanted: &Several) -> anyhow::Result<ExitCode> {
    each(&wanted.containers, async |id: &str| {
        let answer: WaitResponse =
            client.post(&At::path(&["containers", id, "wait"])).await?.json().await?;
        match answer.error {
            Some(error) => bail!("{}", error.message),
            None => Ok(answer.status_code.to_string()),
        }
    })
    .await
}

/// `oriel rename`
pub(crate) async fn rename(client: &Client, wanted: &Rename) -> anyhow::Result<ExitCode> {
    let at = At::path(&["containers", &wanted.container, "rename"]).with("name", &wanted.name);
    client.post(&at).await?;
    Ok(ExitCode::SUCCESS)
}

/// `oriel rm`
pub(crate) async fn remove(client: &Client, wanted: &Remove) -> anyhow::Result<ExitCode> {
    each(&wanted.several.containers, async |id: &str| {
        let at = At::path(&["containers", id])
            .flag("force", wanted.force)
            .flag("v", wanted.volumes)
            .flag("link", wanted.link);
        client.delete(&at).await.map(|_| id.to_owned())
    })
    .await
}

/// `oriel top`
pub(crate) async fn top(client: &Client, wanted: &Top) -> anyhow::Result<ExitCode> {
    let options = (!wanted.options.is_empty()).then(|| wanted.options.join(" "));
    let at = At::path(&["containers", &wanted.container, "top"]).maybe("ps_args", options);
    let found: Value = client.get(&at).await?;
    let cells = |row: &Value| -> Vec<String> {
        let cells = row.as_array().into_iter().flatten().filter_map(Value::as_str);
        cells.map(|cell| plain(cell).into_owned()).collect()
    };
    let mut rows = vec![cells(&found["Titles"])];
    rows.extend(found["Processes"].as_array().into_iter().flatten().map(cells));
    print(&render(&rows))?;
    Ok(ExitCode::SUCCESS)
}

/// `oriel port`
pub(crate) async fn port(client: &Client, wanted: &Port) -> anyhow::Result<ExitCode> {
    let found: Value = client.get(&At::path(&["containers", &wanted.container, "json"])).await?;
    let lines = ports(&found["NetworkSettings"]["Ports"], wanted.port.as_deref());
    if lines.is_empty()
        && let Some(port) = &wanted.port
    {
        let id = &wanted.container;
        bail!("port {port} of {id} is not published; see what is with: oriel port {id}");
    }
    print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

fn ports(published: &Value, wanted: Option<&str>) -> String {
    let wanted = wanted.map(|port| match port.contains('/') {
        true => port.to_owned(),
        false => format!("{port}/tcp"),
    });
    let mut text = String::new();
    for (inside, bindings) in published.as_object().into_iter().flatten() {
        if wanted.as_ref().is_some_and(|wanted| wanted != inside) {
            continue;
        }
        for binding in bindings.as_array().into_iter().flatten() {
            let field = |name: &str| binding[name].as_str().unwrap_or_default();
            let address = field("HostIp");
            let address =
                if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let outside = format!("{address}:{}", field("HostPort"));
            text += &match &wanted {
                Some(_) => format!("{outside}\n"),
                None => format!("{inside} -> {outside}\n"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn published_ports_are_lines() {
        let published = json!({
            "80/tcp": [
                {"HostIp": "0.0.0.0", "HostPort": "8080"},
                {"HostIp": "::", "HostPort": "8080"},
            ],
            "53/udp": null,
        });
        assert_eq!(ports(&published, None), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
        assert_eq!(ports(&published, Some("80")), "0.0.0.0:8080\n[::]:8080\n");
        assert_eq!(ports(&published, Some("53/udp")), "");
    }
}
