//! Oriel's own endpoints: what the host lacks, and the base images.

use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::{Method, StatusCode};
use oriel_api::{
    Line, ProgressDetail,
    system::{Base, BaseBuilt, BaseImage, BuiltImage, Check, CheckLevel, Personality},
};
use oriel_engine::{Engine, EngineError};
use oriel_image::{BaseImport, ImageConfig};
use oriel_personality::{BuildOptions, PersonalityError, Progress};
use serde_json::json;
use tokio::sync::mpsc;

use super::unknown;
use crate::http::{Answer, Call, HttpError, chain, ok, received, streamed};

/// Names of the base images.
const BASES: [&str; 2] = ["nanoserver", "windowsservercore"];
/// Lines of progress under way to the client.
const LINES: usize = 256;

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET", ["system", "check"]) => ok(&check(&call.daemon.engine).await),
        ("GET", ["base"]) => ok(&base(&call.daemon.engine).await?),
        ("POST", ["base", "build"]) => build(&call),
        ("POST", ["images", name @ .., "rebase"]) => {
            super::transfers::rebase(&call, name.join("/")).await
        }
        (_, ["registry", rest @ ..]) => super::registry::dispatch(call, method, rest).await,
        ("GET", ["diff"]) => super::registry::diff(&call).await,
        _ => unknown(),
    }
}

/// What the host says of itself, and whether there is a personality.
pub(crate) async fn check(engine: &Engine) -> Vec<Check> {
    let mut checks: Vec<Check> = engine.check().await.into_iter().map(convert).collect();
    checks.extend(oriel_hns::check().await.into_iter().map(convert));
    checks.extend(tokio::task::spawn_blocking(oriel_image::check_disks).await.map(convert));
    let root = engine.root().to_owned();
    let found = tokio::task::spawn_blocking(move || oriel_personality::current(&root)).await;
    checks.push(personality_check(&found.ok().and_then(Result::ok).flatten()));
    checks
}

/// A check as it travels.
pub(crate) fn convert(check: oriel_hcs::Check) -> Check {
    Check {
        name: check.name,
        level: match check.level {
            oriel_hcs::CheckLevel::Ok => CheckLevel::Ok,
            oriel_hcs::CheckLevel::Warning => CheckLevel::Warning,
            oriel_hcs::CheckLevel::Failing => CheckLevel::Failing,
        },
        finding: check.finding,
        remedy: check.remedy,
    }
}

/// Whether there is a personality, as a check.
pub(crate) fn personality_check(found: &Option<oriel_personality::Personality>) -> Check {
    let name = "NT personality".to_owned();
    match found {
        Some(personality) => Check {
            name,
            level: CheckLevel::Ok,
            finding: format!("{} with Wine {}", personality.id, personality.wine_version),
            remedy: String::new(),
        },
        None => Check {
            name,
            level: CheckLevel::Failing,
            finding: "not built".to_owned(),
            remedy: "run `oriel base build`".to_owned(),
        },
    }
}

async fn base(engine: &Engine) -> Result<Base, HttpError> {
    let found = engine.blocking(current).await?;
    let mut images = Vec::new();
    for name in BASES {
        let resolved = engine.blocking(move |engine| engine.images().resolve(name)).await;
        if let Ok(image) = resolved {
            let (name, id) = (name.to_owned(), image.id.to_string());
            images.push(BaseImage { name, id, size: image.size });
        }
    }
    let personality = found.map(|personality| Personality {
        id: personality.id,
        wine_version: personality.wine_version,
    });
    Ok(Base { personality, images })
}

fn current(engine: &Engine) -> Result<Option<oriel_personality::Personality>, EngineError> {
    oriel_personality::current(engine.root()).map_err(unreadable)
}

fn unreadable(error: PersonalityError) -> EngineError {
    let source = std::io::Error::other(chain(&error));
    EngineError::File { attempt: "read the NT personality", source }
}

fn build(call: &Call) -> Answer {
    let options = BuildOptions {
        mirror: call.query.non_empty("mirror").map(str::to_owned),
        rebuild: call.query.flag("rebuild"),
        keep_work: call.query.flag("keepwork"),
    };
    let daemon = call.daemon.clone();
    if daemon.base_build.try_lock().is_err() {
        return Err(HttpError::new(
            StatusCode::CONFLICT,
            "the base images are being built already: wait for that build to end",
        ));
    }
    let (sender, lines) = mpsc::channel::<Line>(LINES);
    let engine = daemon.engine.clone();
    engine.spawn(async move {
        let Ok(_alone) = daemon.base_build.try_lock() else {
            let text = "the base images are being built already";
            let _ = sender.send(Line::failure(text, None)).await;
            return;
        };
        let progress = sender.clone();
        let work = daemon.engine.blocking(move |engine| run(engine, &options, &progress));
        let last = match work.await {
            Ok(line) => line,
            Err(error) => Line::failure(chain(&error), None),
        };
        // The client may have gone: the build was of use nevertheless.
        let _ = sender.send(last).await;
    });
    let body = received(lines).map(|line| Ok(Bytes::from(line.to_bytes())));
    Ok(streamed("application/json", body))
}

/// Builds, imports, and says what came of it.
fn run(
    engine: &Engine,
    options: &BuildOptions,
    lines: &mpsc::Sender<Line>,
) -> Result<Line, EngineError> {
    let say = |line: Line| {
        // Progress that nobody takes in time is stale anyway.
        let _ = lines.try_send(line);
    };
    let built = oriel_personality::build(engine.root(), options, &mut |progress| {
        say(progress_line(&progress));
    })
    .map_err(|error| {
        let source = std::io::Error::other(chain(&error));
        EngineError::File { attempt: "build the base images", source }
    })?;
    let mut images = Vec::new();
    for base in &built.bases {
        say(Line::status(base.name.clone(), "Importing"));
        let config: ImageConfig = serde_json::from_value(base.config.clone()).map_err(|error| {
            EngineError::invalid(format!("configuration of {}: {error}", base.name))
        })?;
        let import =
            BaseImport { name: base.name.clone(), layer_tar: base.layer_tar.clone(), config };
        let id = engine.images().import_base(&import)?;
        say(Line::status(base.name.clone(), "Imported"));
        let image = engine.images().resolve(&id.to_string())?;
        images.push(BuiltImage {
            name: base.name.clone(),
            id: id.to_string(),
            tar_bytes: base.tar_bytes,
            gzip_bytes: image.layers.iter().map(|layer| layer.compressed_size).sum(),
        });
    }
    let personality =
        Personality { id: built.personality.id, wine_version: built.personality.wine_version };
    Ok(Line::aux(json!(BaseBuilt {
        personality,
        personality_bytes: built.personality_bytes,
        reused: built.reused,
        images,
    })))
}

fn progress_line(progress: &Progress) -> Line {
    let mut line = Line::status(progress.stage.name(), progress.text.clone());
    line.progress_detail = Some(ProgressDetail {
        current: Some(progress.current),
        total: (progress.total > 0).then_some(progress.total),
    });
    line
}
