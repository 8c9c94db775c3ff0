//! `oriel login` and `oriel logout`: credentials for registries, kept where Docker keeps them.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    connection::{At, Client},
    credentials::{self, HUB},
    screen::{print, talk},
    streams::read_secret,
};

#[derive(Args)]
pub(crate) struct Login {
    /// Registry, such as registry.example:5000; Docker Hub unless given
    registry: Option<String>,
    /// User
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Password; others can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
pub(crate) struct Logout {
    /// Registry; Docker Hub unless given
    registry: Option<String>,
}

/// A registry's key in the configuration.
fn key(registry: Option<&str>) -> &str {
    match registry {
        None | Some("docker.io" | "index.docker.io") => HUB,
        Some(name) => {
            let name = name.trim_start_matches("https://").trim_start_matches("http://");
            name.split('/').next().unwrap_or(name)
        }
    }
}

/// `oriel login`
pub(crate) async fn login(client: &Client, wanted: &Login) -> anyhow::Result<ExitCode> {
    let registry = key(wanted.registry.as_deref());
    let username = match &wanted.username {
        Some(name) => name.clone(),
        None if wanted.password_stdin => bail!("--password-stdin needs --username"),
        None => ask_name()?,
    };
    let password = password(wanted)?;
    let body = json!({ "username": username, "password": password, "serveraddress": registry });
    let at = At::path(&["auth"]);
    let answer: Value = client.post_json(&at, &body).await?.json().await?;
    let token = answer["IdentityToken"].as_str().filter(|token| !token.is_empty());
    credentials::store(registry, &username, &password, token)?;
    let status = answer["Status"].as_str().filter(|status| !status.is_empty());
    print(&format!("{}\n", status.unwrap_or("Login Succeeded")))?;
    Ok(ExitCode::SUCCESS)
}

fn ask_name() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("nobody is here to ask; give --username and --password-stdin");
    }
    let mut err = io::stderr();
    write!(err, "Username: ")?;
    err.flush()?;
    let mut name = String::new();
    io::stdin().lock().read_line(&mut name)?;
    let name = name.trim().to_owned();
    if name.is_empty() {
        bail!("a user needs a name");
    }
    Ok(name)
}

fn password(wanted: &Login) -> anyhow::Result<String> {
    if let Some(password) = &wanted.password {
        talk("warning: a password on the command line can be seen; use --password-stdin");
        return Ok(password.clone());
    }
    if wanted.password_stdin {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read the password")?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if !io::stdin().is_terminal() {
        bail!("nobody is here to ask; give --password-stdin");
    }
    read_secret("Password: ")
}

/// `oriel logout`
pub(crate) fn logout(wanted: &Logout) -> anyhow::Result<ExitCode> {
    let registry = key(wanted.registry.as_deref());
    match credentials::forget(registry)? {
        true => print(&format!("Removed login credentials for {registry}\n"))?,
        false => print(&format!("Not logged in to {registry}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_have_dockers_keys() {
        assert_eq!(key(None), HUB);
        assert_eq!(key(Some("docker.io")), HUB);
        assert_eq!(key(Some("https://r.example:5000/v2/")), "r.example:5000");
    }
}
