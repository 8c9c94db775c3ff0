//! `POST /build`: the classic builder.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Method;
use oriel_api::Query;
use oriel_builder::{Build, BuildError, BuildRequest, Findings, NoSecrets, RunOptions};
use oriel_distribution::TransferError;
use oriel_engine::Engine;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::images::emit;
use super::transfers::{Logins, RegistrySource};
use super::{build_caches, unknown};
use crate::http::{Answer, Call, HttpError, body_reader, ok, received, streamed, web_reader};

/// Lines of output under way to the client.
const LINES: usize = 64;

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("POST", []) => build(call).await,
        ("POST", ["prune"]) => build_caches::prune(&call).await,
        ("POST", ["cancel"]) => Err(HttpError::unsupported(
            "a build ends when its client leaves; there is no other way",
        )),
        _ => unknown(),
    }
}

async fn build(call: Call) -> Answer {
    let request = request(&call.query)?;
    let (checks, remote) = (call.query.flag("check"), call.query.value("remote"));
    let remote = remote.filter(|address| !address.is_empty()).map(str::to_owned);
    let bases = RegistrySource { transfers: call.daemon.transfers(), logins: Logins::of(&call) };
    let scratch = call.daemon.scratch();
    let prepared = match remote {
        None => {
            let (feed, mut reader) = body_reader(call.request.into_body());
            // Both end when the client leaves: the reader fails then.
            let work =
                prepare(scratch, move |scratch| Build::prepare(request, &mut reader, scratch));
            let ((), prepared) = tokio::join!(feed, work);
            prepared?
        }
        Some(address) => {
            let file = bases.transfers.registries().web_file(&address).await;
            let (feed, mut reader) = web_reader(file.map_err(TransferError::from)?);
            let work = prepare(scratch, move |scratch| {
                Build::prepare_remote(request, &mut reader, scratch)
            });
            let (fed, prepared) = tokio::join!(feed, work);
            // What the server did wrong says more than what was missing then.
            fed?;
            prepared?
        }
    };
    if checks {
        return ok(&found(prepared.findings()));
    }
    let (sender, lines) = mpsc::channel::<Vec<u8>>(LINES);
    let daemon = call.daemon.clone();
    call.daemon.engine.spawn(async move {
        let site = daemon.build_site(&bases, &NoSecrets);
        match prepared.run_classic(site, sender.clone()).await {
            Ok(built) => announce(&daemon.engine, &built),
            Err(error) => {
                // The client may have gone, which is then the reason.
                let _ = sender.send(error.line()).await;
            }
        }
    });
    Ok(streamed("application/json", received(lines).map(|line| Ok(Bytes::from(line)))))
}

/// Reads a context and its Dockerfile where waiting is allowed.
async fn prepare(
    scratch: PathBuf,
    read: impl FnOnce(&Path) -> Result<Build, BuildError> + Send + 'static,
) -> Result<Build, HttpError> {
    let lost = |error| HttpError::new(hyper::StatusCode::INTERNAL_SERVER_ERROR, error);
    let work = tokio::task::spawn_blocking(move || {
        fs_err::create_dir_all(&scratch).map_err(|error| lost(error.to_string()))?;
        read(&scratch).map_err(|error| HttpError::of(error.class(), &error))
    });
    work.await.map_err(|_| lost("reading the context failed".to_owned()))?
}

/// What the checks of a Dockerfile found, as `check=1` answers.
fn found(findings: &Findings) -> Value {
    let list = findings.list.iter().map(|finding| {
        json!({
            "Rule": finding.rule,
            "Line": finding.position.line,
            "Column": finding.position.column,
            "Source": finding.excerpt,
            "Message": finding.message,
            "Advice": finding.advice,
        })
    });
    json!({ "Findings": list.collect::<Vec<_>>(), "Error": findings.error })
}

/// Tells of the names that an image was given.
pub(crate) fn announce(engine: &Engine, built: &oriel_builder::Built) {
    let id = built.image.to_string();
    for tag in &built.tags {
        emit(engine, "tag", &id, tag);
    }
}

fn request(query: &Query) -> Result<BuildRequest, HttpError> {
    let text = |name: &str| query.value(name).unwrap_or_default().to_owned();
    if let Some(address) = query.non_empty("remote") {
        check_remote(address)?;
    }
    if query.value("version") == Some("2") {
        return Err(HttpError::unsupported(
            "version 2 of POST /build is not supported by this daemon: with buildx the client uses \
             /grpc and /session, without it version 1",
        ));
    }
    if query.flag("squash") {
        return Err(HttpError::invalid("squash is only supported with experimental mode"));
    }
    if query.non_empty("outputs").is_some_and(|outputs| outputs != "null" && outputs != "[]") {
        return Err(HttpError::unsupported(
            "'outputs' is not supported by this daemon: results become images here",
        ));
    }
    Engine::check_isolation(&text("isolation"))?;
    Ok(BuildRequest {
        dockerfile: text("dockerfile"),
        definition: None,
        tags: query.all("t").filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        build_args: parameter(query, "buildargs")?,
        labels: parameter(query, "labels")?,
        target: text("target"),
        platform: text("platform"),
        no_cache: query.flag("nocache"),
        cache_from: parameter(query, "cachefrom")?,
        pull: query.flag("pull"),
        remove: query.flag_or("rm", true),
        force_remove: query.flag("forcerm"),
        quiet: query.flag("q"),
        run: RunOptions {
            network_mode: text("networkmode"),
            isolation: text("isolation"),
            memory_bytes: query.integer("memory")?.unwrap_or(0),
            cpu_shares: query.integer("cpushares")?.unwrap_or(0),
            extra_hosts: query
                .all("extrahosts")
                .flat_map(|hosts| hosts.split(','))
                .filter(|host| !host.is_empty())
                .map(str::to_owned)
                .collect(),
        },
    })
}

/// Checks that a remote context can be fetched. The text about what is no address is Docker's.
fn check_remote(address: &str) -> Result<(), HttpError> {
    if oriel_builder::is_git(address) || address.starts_with("github.com/") {
        return Err(HttpError::unsupported(
            "building from a Git repository is not supported by this daemon: clone it and build \
             from the directory, or give the address of an archive of it",
        ));
    }
    if !["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
        let text = format!("remoteURL ({address}) could not be recognized as URL");
        return Err(HttpError::invalid(text));
    }
    Ok(())
}

/// A parameter that is JSON; empty and `null` are nothing.
fn parameter<T: Default + DeserializeOwned>(query: &Query, name: &str) -> Result<T, HttpError> {
    let Some(text) = query.non_empty(name) else { return Ok(T::default()) };
    let value: Option<T> = serde_json::from_str(text)
        .map_err(|error| HttpError::invalid(format!("cannot read {name}: {error}")))?;
    Ok(value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_the_cli_sends_them() {
        let query = Query::parse(
            "buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D&cachefrom=null&labels=%7B%7D&t=a\
             &t=b&rm=1&memory=0&version=1",
        );
        let request = request(&query).unwrap();
        assert_eq!(request.build_args["A"], Some("1".to_owned()));
        assert_eq!(request.build_args["B"], None);
        assert_eq!(request.tags, ["a", "b"]);
        assert!(request.remove);
    }

    #[test]
    fn what_needs_buildkit_is_refused() {
        for query in ["version=2", "squash=1", "isolation=hyperv"] {
            assert!(request(&Query::parse(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn addresses_of_archives_and_texts_are_taken_and_repositories_are_not() {
        for address in
            ["https://x/y.git", "github.com/x/y", "git%40x:y", "https://x/y.git%23main", "x:y"]
        {
            assert!(request(&Query::parse(&format!("remote={address}"))).is_err(), "{address}");
        }
        for address in ["https://x/y.tar.gz", "http://x/Dockerfile"] {
            assert!(request(&Query::parse(&format!("remote={address}"))).is_ok(), "{address}");
        }
    }
}
