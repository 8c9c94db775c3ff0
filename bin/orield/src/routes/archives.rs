//! Archives: `docker save`, `load`, `export` and `import`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use oriel_api::{Line, ProgressDetail};
use oriel_distribution::TransferError;
use oriel_engine::{Engine, ImportRequest};
use oriel_image::{LoadEvent, Loaded};
use tokio::sync::mpsc;

use super::images::{emit, reference, resolve};
use crate::http::{
    Answer, Call, HttpError, body_reader, body_writer, chain, received, streamed, web_reader,
};

/// Lines of progress under way to the client.
const LINES: usize = 64;

/// Least time between two reports on the same layer: more no eye can follow.
const PACE: Duration = Duration::from_millis(200);

/// `GET /images/get` and `GET /images/NAME/get`.
pub(super) async fn save(call: &Call, names: Vec<String>) -> Answer {
    for name in &names {
        resolve(call, name.clone()).await?;
    }
    let (mut writer, chunks) = body_writer();
    let engine = call.daemon.engine.clone();
    call.daemon.engine.spawn(async move {
        let saved = engine.blocking(move |engine| engine.images().save(&names, &mut writer)).await;
        if let Err(error) = saved {
            // The head has gone out: a tar that breaks off is how a client learns of it.
            tracing::warn!(error = %error, "cannot save images");
        }
    });
    Ok(streamed("application/x-tar", received(chunks).map(Ok)))
}

/// `GET /containers/ID/export`.
pub(super) fn export(call: &Call, id: &str) -> Answer {
    let engine = call.daemon.engine.clone();
    engine.container(id)?;
    let (writer, chunks) = body_writer();
    let id = id.to_owned();
    call.daemon.engine.spawn(async move {
        if let Err(error) = engine.export(&id, writer).await {
            // As for a save.
            tracing::warn!(error = %error, "cannot export a container");
        }
    });
    Ok(streamed("application/x-tar", received(chunks).map(Ok)))
}

/// `POST /images/load`.
pub(super) async fn load(call: Call) -> Answer {
    let quiet = call.query.flag("quiet");
    let engine = call.daemon.engine.clone();
    let (feed, mut reader) = body_reader(call.request.into_body());
    let (sender, lines) = mpsc::channel(LINES);
    let loader = engine.clone();
    engine.spawn(async move {
        let progress = sender.clone();
        let mut pace = Pace::default();
        let work = loader.blocking(move |engine| {
            engine.images().load(&mut reader, &mut |event| {
                if let Some(line) = pace.line(event).filter(|_| !quiet) {
                    // Whoever does not keep up misses some progress, and nothing waits for him.
                    let _ = progress.try_send(Bytes::from(line.to_bytes()));
                }
            })
        });
        // Both end when the client leaves: the reader fails then.
        let ((), loaded) = tokio::join!(feed, work);
        let last = match loaded {
            Ok(loaded) => loaded.into_iter().flat_map(|it| announce(&loader, it)).collect(),
            Err(error) => Line::failure(chain(&error), None).to_bytes(),
        };
        // The client may have gone.
        let _ = sender.send(Bytes::from(last)).await;
    });
    Ok(answered(lines).await)
}

/// Says what a load brought.
fn announce(engine: &Engine, loaded: Loaded) -> Vec<u8> {
    let (text, id, name) = match loaded {
        Loaded::Reference(name, id) => {
            (format!("Loaded image: {}\n", name.familiar()), id.to_string(), name.familiar())
        }
        Loaded::Id(id) => (format!("Loaded image ID: {id}\n"), id.to_string(), id.to_string()),
    };
    emit(engine, "load", &id, &name);
    Line::stream(text).to_bytes()
}

/// An answer of lines that begins with the first of them, when the request has been read.
async fn answered(mut lines: mpsc::Receiver<Bytes>) -> hyper::Response<crate::http::Body> {
    let first = lines.recv().await;
    streamed("application/json", stream::iter(first).chain(received(lines)).map(Ok))
}

/// Lets a few reports a second through.
#[derive(Default)]
struct Pace {
    last: Option<(String, Instant)>,
}

impl Pace {
    /// The line of an event; `None` for one that comes too soon after another.
    fn line(&mut self, event: LoadEvent) -> Option<Line> {
        let LoadEvent::Layer { id, current, total } = event;
        let soon = self.last.as_ref().is_some_and(|(of, at)| *of == id && at.elapsed() < PACE);
        if soon && current < total {
            return None;
        }
        self.last = Some((id.clone(), Instant::now()));
        let detail = ProgressDetail::of(current, total);
        Some(Line { progress_detail: Some(detail), ..Line::status(id, "Loading layer") })
    }
}

/// `POST /images/create?fromSrc=…`: an image of the archive in the body (`-`) or on the web.
pub(super) async fn import(call: Call) -> Answer {
    let query = &call.query;
    let source = query.value("fromSrc").unwrap_or_default();
    let platform = query.value("platform").unwrap_or_default();
    if !matches!(platform, "" | "windows" | "windows/amd64") {
        return Err(HttpError::invalid(format!(
            "cannot import an image for {platform}: this daemon runs windows/amd64 only"
        )));
    }
    let text = |name: &str| query.value(name).unwrap_or_default();
    let name = query.non_empty("repo").map(|repo| reference(repo, text("tag"))).transpose()?;
    let comment = match query.non_empty("message") {
        Some(message) => message.to_owned(),
        None => format!("Imported from {source}"),
    };
    let changes = query.all("changes").map(str::to_owned).collect();
    let request = ImportRequest { name: name.clone(), changes, comment };
    let daemon = call.daemon.clone();
    let (fed, imported) = if source == "-" {
        let (feed, reader) = body_reader(call.request.into_body());
        // Both end when the client leaves: the reader fails then.
        let ((), imported) = tokio::join!(feed, daemon.engine.import(reader, request));
        (Ok(()), imported)
    } else {
        let file = daemon.transfers().registries().web_file(source).await;
        let (feed, reader) = web_reader(file.map_err(TransferError::from)?);
        tokio::join!(feed, daemon.engine.import(reader, request))
    };
    // What the server did wrong says more than what was missing then.
    fed?;
    let imported = imported?;
    let id = imported.image.to_string();
    let named = name.map_or_else(|| id.clone(), |name| name.familiar());
    emit(&daemon.engine, "import", &id, &named);
    let mut body = Vec::new();
    if !imported.bootable {
        let text = "Warning: the archive has no Windows directory, so no container can start from \
                    the image; its files can be copied in a build";
        body.extend(Line::said(text).to_bytes());
    }
    body.extend(Line::said(id).to_bytes());
    Ok(crate::http::with_type(hyper::StatusCode::OK, "application/json", body))
}

#[cfg(test)]
mod tests {
    use oriel_image::LoadEvent;

    use super::Pace;

    #[test]
    fn progress_is_thinned_out_but_its_ends_are_shown() {
        let mut pace = Pace::default();
        let mut shown = |id: &str, current| {
            let event = LoadEvent::Layer { id: id.to_owned(), current, total: 10 };
            pace.line(event).is_some()
        };
        assert!(shown("a", 0));
        assert!(!shown("a", 1));
        assert!(shown("a", 10));
        assert!(shown("b", 0));
    }
}
