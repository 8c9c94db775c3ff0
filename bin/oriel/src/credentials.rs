//! What `docker login` stored, for commands that make the daemon talk to a registry.
//!
//! The rules are those of the Docker CLI (docker/cli, `cli/config/configfile/file.go`): a helper
//! for the registry, then the helper for all, then what the configuration file holds itself.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Docker Hub's key in the configuration file.
const HUB: &str = "https://index.docker.io/v1/";

/// `config.json` of the Docker CLI, as far as it says who one is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: BTreeMap<String, Stored>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

/// What the file holds for one registry.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    auth: String,
    identitytoken: String,
}

/// What a helper prints (docker/docker-credential-helpers, `credentials/credentials.go`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// The header `X-Registry-Auth` for the registry of `image`; `None` when nothing is stored for it.
pub(crate) fn header(image: &str) -> Option<String> {
    let file = config_path().and_then(|path| fs_err::read(path).ok())?;
    let config: ConfigFile = serde_json::from_slice(&file).ok()?;
    let credentials = find(&config, registry(image), ask_helper)?;
    Some(URL_SAFE.encode(credentials.to_string()))
}

fn config_path() -> Option<PathBuf> {
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    Some(directory.or_else(home)?.join("config.json"))
}

/// The registry in an image's name, as the configuration file calls it.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => HUB,
    }
}

fn find(
    config: &ConfigFile,
    registry: &str,
    ask: impl Fn(&str, &str) -> Option<Helped>,
) -> Option<Value> {
    let helper = config.cred_helpers.get(registry).unwrap_or(&config.creds_store);
    if !helper.is_empty() {
        let Helped { username, secret } = ask(helper, registry)?;
        return Some(match username.as_str() {
            "<token>" => json!({ "identitytoken": secret, "serveraddress": registry }),
            _ => {
                json!({ "username": username, "password": secret, "serveraddress": registry })
            }
        });
    }
    let stored = config.auths.get(registry)?;
    if !stored.identitytoken.is_empty() {
        let token = &stored.identitytoken;
        return Some(json!({ "identitytoken": token, "serveraddress": registry }));
    }
    let text = String::from_utf8(STANDARD.decode(&stored.auth).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0');
    Some(json!({ "username": username, "password": password, "serveraddress": registry }))
}

/// Asks `docker-credential-HELPER` for what it keeps.
fn ask_helper(helper: &str, registry: &str) -> Option<Helped> {
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(registry.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Option<Value> {
        let config: ConfigFile = serde_json::from_str(config).unwrap();
        find(&config, registry(image), |helper, registry| {
            let username = if helper == "tokens" { "<token>" } else { helper };
            Some(Helped { username: username.to_owned(), secret: registry.to_owned() })
        })
    }

    #[test]
    fn the_file_holds_user_and_password() {
        let config = r#"{"auths":{"r.example:5000":{"auth":"YW5uOnA6dw=="}}}"#;
        let ann = found(config, "r.example:5000/a/b:1").unwrap();
        assert_eq!((&ann["username"], &ann["password"]), (&json!("ann"), &json!("p:w")));
        assert_eq!(found(config, "r.example/a"), None);
        assert_eq!(found(config, "nanoserver"), None);
    }

    #[test]
    fn helpers_come_first() {
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}},
            "credsStore":"store","credHelpers":{"r.example":"tokens"}}"#;
        assert_eq!(found(config, "a/b").unwrap()["username"], "store");
        assert_eq!(found(config, "r.example/b").unwrap()["identitytoken"], "r.example");
    }
}
