//! Images from and to registries.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hyper::StatusCode;
use oriel_api::{Line, ProgressDetail};
use oriel_builder::{BaseSource, DescribedImage, Fetched, HostError};
use oriel_distribution::{
    Access, Credentials, Described, DistributionError, Pulled, Pushed, Step, Steps, TransferError,
    Transfers,
};
use oriel_engine::EngineError;
use oriel_hcs::Class;
use oriel_image::{Descriptor, DiffId, ImageError, Layer, Obstacles, Reference};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::images::{emit_transfer, reference, resolve};
use crate::http::{Answer, Call, HttpError, chain, ok, received, status_of, streamed};

/// Steps under way to a client.
const STEPS: usize = 256;

impl From<TransferError> for HttpError {
    fn from(error: TransferError) -> Self {
        let status = match &error {
            // The CLI asks for a password when it sees 401, so dockerd keeps it for refusals of
            // given credentials and of anonymous ones by a token server.
            TransferError::Registry(DistributionError::NoBasicCredentials) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ if error.wants_login() => StatusCode::UNAUTHORIZED,
            // A registry that is out of reach is an error of this daemon to Docker's clients.
            _ => match error.class() {
                Class::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
                class => status_of(class),
            },
        };
        Self::new(status, chain(&error))
    }
}

/// `X-Registry-Auth` of a request.
fn credentials(call: &Call) -> Credentials {
    let header = call.request.headers().get("x-registry-auth");
    header.and_then(|text| text.to_str().ok()).map(Credentials::from_header).unwrap_or_default()
}

/// `POST /images/create?fromImage=`
pub(super) async fn pull(call: &Call, from: &str) -> Answer {
    let query = &call.query;
    let tag = query.value("tag").unwrap_or_default();
    let platform = query.value("platform").unwrap_or_default();
    check_platform(platform)?;
    let names = if let Some(digest) = Some(tag).filter(|tag| tag.contains(':')) {
        vec![Reference::parse(&format!("{from}@{digest}"))?]
    } else {
        let named = Reference::parse(from)?;
        if tag.is_empty() && named.tag().is_none() && named.digest().is_none() {
            all_tags(call, &named).await?
        } else if named.digest().is_some() {
            vec![named]
        } else {
            vec![reference(from, tag)?]
        }
    };
    let (engine, transfers) = (call.daemon.engine.clone(), call.daemon.transfers());
    let credentials = credentials(call);
    transfer(call, move |steps| async move {
        let mut lines = Vec::new();
        for name in &names {
            let pulled = transfers.pull(name, &credentials, &steps).await?;
            emit_transfer(&engine, "pull", name);
            lines.extend(summary(name, &pulled));
        }
        Ok(lines)
    })
    .await
}

/// Refuses images for another platform than this host's.
fn check_platform(platform: &str) -> Result<(), HttpError> {
    match platform.to_ascii_lowercase().as_str() {
        "" | "windows" | "windows/amd64" => Ok(()),
        _ => Err(HttpError::invalid(format!(
            "operating system is not supported: {platform} (this host runs windows/amd64)"
        ))),
    }
}

/// Every tag of a repository: what a pull without a tag means.
async fn all_tags(call: &Call, repository: &Reference) -> Result<Vec<Reference>, HttpError> {
    let transfers = call.daemon.transfers();
    let credentials = credentials(call);
    let open = transfers.registries().repository(repository, &credentials, Access::Pull);
    let opened = open.await.map_err(TransferError::from)?;
    let tags = opened.tags().await.map_err(TransferError::from)?;
    Ok(tags.iter().map(|tag| repository.with_tag(tag)).collect::<Result<_, _>>()?)
}

/// The last lines of a pull.
fn summary(name: &Reference, pulled: &Pulled) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(digest) = pulled.digest {
        lines.push(Line::said(format!("Digest: {digest}")));
    }
    if let Some(substitution) = &pulled.substitution {
        lines.push(Line::said(format!(
            "Substituted: {} of this host stands in for {} base layer(s) of Windows",
            substitution.base,
            substitution.stated.len()
        )));
    }
    let done = if pulled.newer { "Downloaded newer image for" } else { "Image is up to date for" };
    lines.push(Line::said(format!("Status: {done} {}", name.familiar())));
    lines
}

/// `POST /images/NAME/push`
pub(super) async fn push(call: &Call, name: String) -> Answer {
    let tag = call.query.value("tag").unwrap_or_default();
    let repository = Reference::parse(&name)?;
    let names = if tag.is_empty() && repository.tag().is_none() {
        tags_here(call, &repository).await?
    } else {
        vec![reference(&name, tag)?]
    };
    for name in &names {
        resolve(call, name.familiar()).await.map_err(|error| match error {
            EngineError::Image(ImageError::NoSuchImage { .. }) => not_here(name),
            other => other.into(),
        })?;
    }
    let (engine, transfers) = (call.daemon.engine.clone(), call.daemon.transfers());
    let credentials = credentials(call);
    let target = format!("The push refers to repository [{}]", repository.repository());
    transfer(call, move |steps| async move {
        steps.say(target).await;
        let mut lines = Vec::new();
        for name in &names {
            let pushed = transfers.push(name, &credentials, &steps).await?;
            emit_transfer(&engine, "push", name);
            let Pushed { tag, digest, size, .. } = pushed;
            lines.push(Line {
                progress_detail: Some(ProgressDetail::default()),
                ..Line::aux(json!({ "Tag": tag, "Digest": digest.to_string(), "Size": size }))
            });
        }
        Ok(lines)
    })
    .await
}

/// The names that images here have in a repository.
async fn tags_here(call: &Call, repository: &Reference) -> Result<Vec<Reference>, HttpError> {
    let images = call.daemon.engine.blocking(|engine| engine.images().list()).await?;
    let names = images.into_iter().flat_map(|image| image.references);
    let names: Vec<_> = names.filter(|name| name.repository() == repository.repository()).collect();
    if names.is_empty() {
        return Err(not_here(repository));
    }
    Ok(names)
}

/// Docker's words for an image that cannot be pushed because it is not here.
fn not_here(name: &Reference) -> HttpError {
    let repository = name.familiar_repository();
    HttpError::not_found(format!("An image does not exist locally with the tag: {repository}"))
}

/// Runs a transfer on its own and answers with its steps, then its last lines. What fails before
/// the first step is an error of the request. The transfer ends when the client leaves.
async fn transfer<F>(call: &Call, run: impl FnOnce(Steps) -> F) -> Answer
where
    F: Future<Output = Result<Vec<Line>, TransferError>> + Send + 'static,
{
    let (sender, mut steps) = mpsc::channel(STEPS);
    let (done, ended) = oneshot::channel();
    let work = run(Steps::new(sender));
    call.daemon.engine.spawn(async move {
        // The client may have gone, which the transfer has found then.
        let _ = done.send(work.await);
    });
    let first = steps.recv().await;
    let ended = match first {
        Some(_) => Ended::Later(ended),
        None => Ended::Now(ended.await.unwrap_or(Err(TransferError::Broken))?),
    };
    let early = stream::iter(first.map(line));
    let lines = early.chain(received(steps).map(line)).chain(
        stream::once(async move {
            match ended {
                Ended::Now(lines) => lines,
                Ended::Later(ended) => match ended.await.unwrap_or(Err(TransferError::Broken)) {
                    Ok(lines) => lines,
                    Err(error) => vec![Line::failure(chain(&error), None)],
                },
            }
        })
        .flat_map(stream::iter),
    );
    Ok(streamed("application/json", lines.map(|line| Ok(Bytes::from(line.to_bytes())))))
}

/// The end of a transfer, as far as it is known when the answer begins.
enum Ended {
    Now(Vec<Line>),
    Later(oneshot::Receiver<Result<Vec<Line>, TransferError>>),
}

/// A step as it travels.
fn line(step: Step) -> Line {
    let progress_detail = Some(match step.progress {
        Some((current, total)) => ProgressDetail::of(current, total),
        None => ProgressDetail::default(),
    });
    if step.id.is_empty() {
        return Line::said(step.status);
    }
    Line { progress_detail, ..Line::status(step.id, step.status) }
}

/// `POST /auth`
pub(super) async fn login(mut call: Call) -> Answer {
    let wanted: Value = call.json().await?;
    let credentials: Credentials = serde_json::from_value(wanted).map_err(HttpError::invalid)?;
    let transfers = call.daemon.transfers();
    let registries = transfers.registries();
    let login = registries.login(&credentials.server_address, &credentials).await;
    let login = login.map_err(TransferError::from)?;
    ok(&json!({
        "Status": "Login Succeeded",
        "IdentityToken": login.identity_token.unwrap_or_default(),
    }))
}

/// `GET /distribution/NAME/json`
pub(super) async fn inspect(call: &Call, name: String) -> Answer {
    let name = Reference::parse(&name)?.or_latest();
    let described = call.daemon.transfers().inspect(&name, &credentials(call)).await?;
    ok(&json!({ "Descriptor": described.descriptor, "Platforms": described.platforms }))
}

/// `POST /oriel/images/NAME/rebase?onto=&t=&force=`
pub(super) async fn rebase(call: &Call, name: String) -> Answer {
    let query = &call.query;
    let onto = query.non_empty("onto");
    let onto = onto.ok_or_else(|| HttpError::invalid("`onto` has to name the new base"))?;
    let onto = Reference::parse(onto)?.or_latest();
    let names = query
        .all("t")
        .filter(|name| !name.is_empty())
        .map(|name| Reference::parse(name).map(Reference::or_latest))
        .collect::<Result<Vec<_>, _>>()?;
    let obstacles = if query.flag("force") { Obstacles::Ignore } else { Obstacles::Refuse };
    let image = call.daemon.engine.blocking(move |engine| engine.images().resolve(&name)).await?;
    let credentials = credentials(call);
    let transfers = call.daemon.transfers();
    let made = transfers.rebase(image.id, (&onto, &credentials), obstacles, names).await?;
    ok(&json!({ "Id": made.to_string() }))
}

/// Where builds get base images that are not here.
pub(crate) struct RegistrySource {
    pub(crate) transfers: Transfers,
    pub(crate) logins: Logins,
}

/// `X-Registry-Config` of a build: credentials by registry.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Logins(BTreeMap<String, Credentials>);

impl Logins {
    /// Reads the header of a request; undecodable means none, as for single credentials.
    pub(crate) fn of(call: &Call) -> Self {
        let header = call.request.headers().get("x-registry-config");
        let text = header.and_then(|text| text.to_str().ok());
        text.and_then(oriel_distribution::decode_header).unwrap_or_default()
    }

    /// Those for one registry.
    pub(crate) fn for_one(domain: &str, credentials: Credentials) -> Self {
        Self([(domain.to_owned(), credentials)].into())
    }

    /// Those for the registry of `name`.
    fn for_registry(&self, name: &Reference) -> Credentials {
        let wanted: &[&str] = match name.domain() {
            "docker.io" => &["index.docker.io/v1", "index.docker.io", "docker.io"],
            domain => &[domain],
        };
        let host = |key: &str| {
            let key = key.trim_start_matches("https://").trim_start_matches("http://");
            key.trim_end_matches('/').to_owned()
        };
        let of = |wanted: &&str| self.0.iter().find(|(key, _)| host(key) == **wanted);
        wanted.iter().find_map(of).map(|(_, found)| found.clone()).unwrap_or_default()
    }
}

/// Runs a transfer of a build, passing on how far it is.
async fn told<T, F>(
    output: &mpsc::Sender<Vec<u8>>,
    work: impl FnOnce(Steps) -> F,
) -> Result<T, TransferError>
where
    F: Future<Output = Result<T, TransferError>>,
{
    let (sender, mut steps) = mpsc::channel(STEPS);
    let forward = async {
        while let Some(step) = steps.recv().await {
            // A client that is gone cancels the build elsewhere.
            let _ = output.send(line(step).to_bytes()).await;
        }
    };
    tokio::join!(work(Steps::new(sender)), forward).0
}

fn refused(error: TransferError) -> HostError {
    HostError { class: error.class(), message: chain(&error) }
}

#[async_trait::async_trait]
impl BaseSource for RegistrySource {
    async fn pull(&self, name: &Reference, output: mpsc::Sender<Vec<u8>>) -> Result<(), HostError> {
        let credentials = self.logins.for_registry(name);
        let pull = async |steps| self.transfers.pull(name, &credentials, &steps).await;
        let pulled = told(&output, pull).await;
        match pulled {
            Ok(pulled) => {
                for line in summary(name, &pulled) {
                    let _ = output.send(line.to_bytes()).await;
                }
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn describe(&self, name: &Reference) -> Result<DescribedImage, HostError> {
        let credentials = self.logins.for_registry(name);
        let Described { config, layers } =
            self.transfers.look_at(name, &credentials).await.map_err(refused)?;
        Ok(DescribedImage { config, layers })
    }

    async fn take_layer(
        &self,
        name: &Reference,
        layer: (DiffId, Descriptor),
        onto: Vec<Layer>,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<Layer, HostError> {
        let credentials = self.logins.for_registry(name);
        let from = (name, &credentials);
        let take = async |steps| self.transfers.take_layer(from, layer, onto, &steps).await;
        told(&output, take).await.map_err(refused)
    }

    async fn fetch(&self, url: &str, pieces: mpsc::Sender<Vec<u8>>) -> Result<Fetched, HostError> {
        let failed = |error: DistributionError| {
            let error = TransferError::from(error);
            HostError { class: error.class(), message: chain(&error) }
        };
        let mut file = self.transfers.registries().web_file(url).await.map_err(failed)?;
        let disposition = file.disposition().map(str::to_owned);
        let modified = file.modified();
        while let Some(piece) = file.piece().await.map_err(failed)? {
            if pieces.send(piece.into()).await.is_err() {
                break;
            }
        }
        Ok(Fetched { modified, disposition })
    }
}

#[cfg(test)]
mod tests {
    use super::{Logins, Reference};

    #[test]
    fn a_build_shows_each_registry_its_own_credentials() {
        let logins: Logins = serde_json::from_str(
            r#"{ "https://index.docker.io/v1/": { "username": "hub" },
                 "https://r.example:5000/": { "username": "ann" } }"#,
        )
        .unwrap();
        for (name, user) in [("a/b", "hub"), ("r.example:5000/x", "ann"), ("r.example/x", "")] {
            let name = Reference::parse(name).unwrap();
            assert_eq!(logins.for_registry(&name).username, user, "{name}");
        }
    }
}
