//! Who one is at registries: what `oriel login` or `docker login` stored.
//!
//! The rules are those of the Docker CLI (docker/cli, `cli/config/configfile/file.go`): a helper
//! for the registry, then the helper for all, then what the configuration file holds itself.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Docker Hub's key in the configuration file.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

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

/// The header `X-Registry-Config` of a build: everything that is stored, by registry. `None` when
/// nothing is.
pub(crate) fn all() -> Option<String> {
    let file = config_path().and_then(|path| fs_err::read(path).ok())?;
    let config: ConfigFile = serde_json::from_slice(&file).ok()?;
    let known = config.auths.keys().chain(config.cred_helpers.keys());
    let all: serde_json::Map<_, _> = known
        .filter_map(|registry| Some((registry.clone(), find(&config, registry, ask_helper)?)))
        .collect();
    (!all.is_empty()).then(|| URL_SAFE.encode(Value::Object(all).to_string()))
}

/// Keeps credentials: with the registry's helper, or in the configuration file.
///
/// # Errors
/// When the helper fails, or the file is not understood or cannot be written.
pub(crate) fn store(
    registry: &str,
    username: &str,
    password: &str,
    token: Option<&str>,
) -> anyhow::Result<()> {
    let path = config_path().context("there is no home directory; set DOCKER_CONFIG")?;
    let mut document = document(&path)?;
    let helper = helper(&document, registry);
    let entry = if let Some(helper) = &helper {
        let (username, secret) = token.map_or((username, password), |token| ("<token>", token));
        let told = json!({ "ServerURL": registry, "Username": username, "Secret": secret });
        tell_helper(helper, "store", &told.to_string())?;
        json!({})
    } else if let Some(token) = token {
        json!({ "auth": STANDARD.encode(format!("{username}:")), "identitytoken": token })
    } else {
        json!({ "auth": STANDARD.encode(format!("{username}:{password}")) })
    };
    document["auths"][registry] = entry;
    write(&path, &document)
}

/// Forgets credentials; tells whether there were any.
///
/// # Errors
/// As [`store`].
pub(crate) fn forget(registry: &str) -> anyhow::Result<bool> {
    let Some(path) = config_path().filter(|path| path.exists()) else { return Ok(false) };
    let mut document = document(&path)?;
    if let Some(helper) = helper(&document, registry) {
        tell_helper(&helper, "erase", registry)?;
    }
    let known = document["auths"].as_object_mut().and_then(|auths| auths.remove(registry));
    write(&path, &document)?;
    Ok(known.is_some())
}

fn document(path: &Path) -> anyhow::Result<Value> {
    let text = match fs_err::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(json!({})),
        Err(error) => return Err(error.into()),
    };
    let document: Value = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no JSON; mend or remove it", path.display()))?;
    match document.is_object() && (document["auths"].is_object() || document["auths"].is_null()) {
        true => Ok(document),
        false => bail!("{} is not understood; mend or remove it", path.display()),
    }
}

fn helper(document: &Value, registry: &str) -> Option<String> {
    let own = document["credHelpers"][registry].as_str();
    let helper = own.or_else(|| document["credsStore"].as_str())?;
    (!helper.is_empty()).then(|| helper.to_owned())
}

/// Replaces the file, which only its owner can read.
fn write(path: &Path, document: &Value) -> anyhow::Result<()> {
    let directory = path.parent().context("the configuration has no directory")?;
    fs_err::create_dir_all(directory)?;
    // Temporary files are made 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(crate::format::json::indent(document.to_string().as_bytes()).as_bytes())?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn tell_helper(helper: &str, verb: &str, input: &str) -> anyhow::Result<()> {
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}; is it installed?"))?;
    child.stdin.take().context("a pipe is missing")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} {verb}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
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
