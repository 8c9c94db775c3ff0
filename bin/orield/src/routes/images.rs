//! Images.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use oriel_api::{
    Filters, Shape,
    image::{Deleted, HistoryItem, Summary},
};
use oriel_engine::{CommitRequest, ContainerView, Engine, EngineError, Stillness, Time};
use oriel_image::{
    Image, ImageError, ImageId, Reference, Removed, RunConfig, layer_sizes, shared_sizes,
};
use serde_json::{Value, json};

use super::{archives, unknown, volumes::flag};
use crate::http::{Answer, Call, HttpError, empty, json as answer, ok};

const LIST_FILTERS: [&str; 6] = ["before", "since", "until", "label", "reference", "dangling"];

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET", ["json"]) => ok(&summaries(&call).await?),
        ("GET", ["get"]) => {
            let names = call.query.all("names").flat_map(|names| names.split(','));
            let names = names.map(str::to_owned).collect();
            archives::save(&call, names).await
        }
        ("GET", ["search"]) => super::search::search(&call).await,
        ("POST", ["load"]) => archives::load(call).await,
        ("POST", ["create"]) => match call.query.non_empty("fromImage") {
            Some(from) => super::transfers::pull(&call, from).await,
            None => archives::import(call).await,
        },
        ("POST", ["prune"]) => prune(&call).await,
        ("GET", [name @ .., "json"]) => inspect(&call, name.join("/")).await,
        ("GET", [name @ .., "history"]) => history(&call, name.join("/")).await,
        ("GET", [name @ .., "get"]) => archives::save(&call, vec![name.join("/")]).await,
        ("POST", [name @ .., "tag"]) => tag(&call, name.join("/")).await,
        ("POST", [name @ .., "push"]) => super::transfers::push(&call, name.join("/")).await,
        ("DELETE", name @ [_, ..]) => remove(&call, name.join("/")).await,
        _ => unknown(),
    }
}

pub(super) async fn resolve(call: &Call, name: String) -> Result<Image, EngineError> {
    call.daemon.engine.blocking(move |engine| engine.images().resolve(&name)).await
}

async fn all(call: &Call) -> Result<Vec<Image>, EngineError> {
    call.daemon.engine.blocking(|engine| engine.images().list()).await
}

fn created(image: &Image) -> i64 {
    let created = image.config.created.as_deref().and_then(Time::parse);
    created.map_or(0, Time::seconds)
}

fn tags(image: &Image) -> Vec<String> {
    image.references.iter().map(Reference::familiar).collect()
}

fn digests(image: &Image) -> Vec<String> {
    image.digests.iter().map(Reference::familiar).collect()
}

/// Elements of `GET /images/json`.
async fn summaries(call: &Call) -> Result<Vec<Value>, HttpError> {
    let filters = call.query.value("filters").unwrap_or_default();
    let all = all(call).await?;
    let images = listed(call, &all, filters).await?;
    let share = call.version.at_least(42) && call.query.flag("shared-size");
    let measured = Measured {
        shared: share.then(|| shared_sizes(&images)),
        users: call.daemon.engine.containers(),
    };
    let shown = |image: &&Image| call.shaped(Shape::ImageSummary, summary(image, &measured));
    Ok(images.iter().map(shown).collect())
}

/// Bytes of all layers, each once, and the images as `GET /system/df` shows them.
pub(crate) async fn usage(call: &Call) -> Result<(u64, Vec<Value>), HttpError> {
    let all = all(call).await?;
    let images = listed(call, &all, "").await?;
    let measured =
        Measured { shared: Some(shared_sizes(&images)), users: call.daemon.engine.containers() };
    let shown = |image: &&Image| call.shaped(Shape::ImageUsage, summary(image, &measured));
    Ok((layer_sizes(&all).values().sum(), images.iter().map(shown).collect()))
}

/// Those of `images` that a list shows: what others were built on only when all are asked for.
async fn listed<'a>(
    call: &Call,
    images: &'a [Image],
    filters: &str,
) -> Result<Vec<&'a Image>, HttpError> {
    let filters = Filters::parse(filters, &LIST_FILTERS)?;
    let mut bounds = Vec::new();
    for key in ["before", "since"] {
        if let Some(name) = filters.values(key).first() {
            let bound = resolve(call, name.clone()).await?;
            bounds.push((key, created(&bound)));
        }
    }
    let until = super::until(call, &filters)?;
    let dangling = flag(&filters, "dangling")?;
    let show_all = call.query.flag("all");
    // Before 1.41 a list was filtered by one name as well.
    let named = call.query.non_empty("filter").filter(|_| !call.version.at_least(41));
    let shown = |image: &&Image| {
        let is_parent = || images.iter().any(|other| other.parent == Some(image.id));
        let in_bounds = bounds.iter().all(|(key, bound)| match *key {
            "before" => created(image) < *bound,
            _ => created(image) > *bound,
        });
        let hidden = image.references.is_empty() && !show_all && is_parent();
        let old = until.is_none_or(|until| created(image) < until.seconds());
        let dangles = dangling.is_none_or(|dangling| image.references.is_empty() == dangling);
        let named = named.is_none_or(|pattern| is_called(image, pattern));
        !hidden && in_bounds && old && dangles && named && wanted(image, &filters)
    };
    Ok(images.iter().filter(shown).collect())
}

fn wanted(image: &Image, filters: &Filters) -> bool {
    filters.any("reference", |pattern| is_called(image, pattern))
        && filters.labels(&image.config.config.labels)
}

/// Whether a pattern matches a name of an image, with its tag or without.
fn is_called(image: &Image, pattern: &str) -> bool {
    tags(image).iter().any(|tag| {
        let name = tag.rsplit_once(':').map_or(tag.as_str(), |(name, _)| name);
        matches(pattern, tag) || matches(pattern, name)
    })
}

/// Whether a pattern with `*` and `?`, neither of which crosses a slash, matches.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on when the present way leads nowhere: after the latest star.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == text[t] || (*c == b'?' && text[t] != b'/') => {
                (p, t) = (p + 1, t + 1);
            }
            _ => match retry {
                Some((star, at)) if text[at] != b'/' => {
                    retry = Some((star, at + 1));
                    (p, t) = (star + 1, at + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// What was measured of images because a client asked for it.
struct Measured {
    shared: Option<BTreeMap<ImageId, u64>>,
    users: Vec<ContainerView>,
}

fn summary(image: &Image, measured: &Measured) -> Summary {
    let id = image.id.to_string();
    let labels = &image.config.config.labels;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let shared = measured.shared.as_ref().and_then(|shared| shared.get(&image.id));
    let users = measured.users.iter().filter(|container| container.spec.image_id == id).count();
    Summary {
        parent_id: image.parent.map_or_else(String::new, |parent| parent.to_string()),
        repo_tags: tags(image),
        repo_digests: digests(image),
        created: created(image),
        size: image.size,
        shared_size: shared.map_or(-1, |shared| count(*shared)),
        labels: (!labels.is_empty()).then(|| labels.clone()),
        containers: count(users as u64),
        id,
    }
}

async fn inspect(call: &Call, name: String) -> Answer {
    let image = resolve(call, name).await?;
    let config = &image.config;
    let layers: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    let comment = config.history.last().map_or("", |step| step.comment.as_str());
    let tagged =
        image.last_tagged.map_or_else(|| oriel_engine::NEVER.to_owned(), oriel_image::rfc3339);
    let mut value = json!({
        "Id": image.id.to_string(),
        "RepoTags": tags(&image),
        "RepoDigests": digests(&image),
        "Parent": image.parent.map_or_else(String::new, |parent| parent.to_string()),
        "Comment": comment,
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author,
        "Config": config.config,
        "Architecture": config.architecture,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": image.size,
        "GraphDriver": { "Name": "windowsfilter", "Data": null },
        "RootFS": { "Type": config.rootfs.kind, "Layers": layers },
        "Metadata": { "LastTagTime": tagged },
    });
    if let Some(substitution) = &image.substitution {
        value["Substitution"] = json!({
            "Base": substitution.base,
            "Source": substitution.source,
            "Layers": substitution.stated.iter().map(|layer| json!({
                "DiffId": layer.diff_id,
                "Descriptor": layer.descriptor,
            })).collect::<Vec<_>>(),
        });
    }
    ok(&call.shaped(Shape::Image, value))
}

async fn history(call: &Call, name: String) -> Answer {
    let image = resolve(call, name).await?;
    let mut sizes = image.layer_sizes().into_iter();
    let mut items: Vec<HistoryItem> = Vec::new();
    for step in &image.config.history {
        let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        let created = step.created.as_deref().and_then(Time::parse).map_or(0, Time::seconds);
        items.push(HistoryItem {
            id: "<missing>".to_owned(),
            created,
            created_by: step.created_by.clone(),
            tags: None,
            size,
            comment: step.comment.clone(),
        });
    }
    items.reverse();
    if let Some(newest) = items.first_mut() {
        newest.id = image.id.to_string();
        newest.tags = (!image.references.is_empty()).then(|| tags(&image));
    }
    // The images it was built on are known as long as they are here.
    let mut parent = image.parent;
    for item in items.iter_mut().skip(1) {
        let Some(id) = parent else { break };
        let Ok(image) = resolve(call, id.to_string()).await else { break };
        item.id = id.to_string();
        item.tags = (!image.references.is_empty()).then(|| tags(&image));
        parent = image.parent;
    }
    ok(&items)
}

/// A name from `repo` and `tag`.
pub(super) fn reference(repo: &str, tag: &str) -> Result<Reference, ImageError> {
    let tag = if tag.is_empty() { "latest" } else { tag };
    let named = Reference::parse(repo)?;
    if named.tag().is_some() {
        return Ok(named);
    }
    Reference::parse(&format!("{repo}:{tag}"))
}

async fn tag(call: &Call, name: String) -> Answer {
    let query = &call.query;
    let reference =
        reference(query.value("repo").unwrap_or_default(), query.value("tag").unwrap_or_default())?;
    let tagged = reference.familiar();
    let id = call
        .daemon
        .engine
        .blocking(move |engine| {
            let image = engine.images().resolve(&name)?;
            engine.images().tag(&image.id, &reference)?;
            Ok::<_, ImageError>(image.id)
        })
        .await?;
    emit(&call.daemon.engine, "tag", &id.to_string(), &tagged);
    Ok(empty(StatusCode::CREATED))
}

/// Tells that something happened to the image `id`, as `name`.
pub(super) fn emit(engine: &Engine, action: &str, id: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    engine.emit_event("image", action, id, attributes);
}

/// Tells that an image went from or to a registry: Docker has its name for its id then, and the
/// repository's for its name.
pub(super) fn emit_transfer(engine: &Engine, action: &str, name: &Reference) {
    let familiar = name.familiar();
    let repository = familiar.split_once('@').map_or(familiar.as_str(), |(name, _)| name);
    let repository = match repository.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => repository,
    };
    emit(engine, action, &familiar, repository);
}

/// Tells what was removed. A name that was taken off belonged to `image`, or without one to what
/// went after it.
fn report(call: &Call, image: Option<ImageId>, removed: Vec<Removed>) -> Vec<Deleted> {
    let tell = |action, id: &str| emit(&call.daemon.engine, action, id, id);
    let mut shown = Vec::with_capacity(removed.len());
    for (at, item) in removed.iter().enumerate() {
        let gone = removed[at..].iter().find_map(|item| match item {
            Removed::Deleted(id) => Some(*id),
            Removed::Untagged(_) => None,
        });
        shown.push(match item {
            Removed::Untagged(name) => {
                if let Some(id) = image.or(gone) {
                    tell("untag", &id.to_string());
                }
                Deleted::Untagged(name.clone())
            }
            Removed::Deleted(id) => {
                tell("delete", &id.to_string());
                Deleted::Deleted(id.to_string())
            }
        });
    }
    shown
}

async fn remove(call: &Call, name: String) -> Answer {
    let (force, noprune) = (call.query.flag("force"), call.query.flag("noprune"));
    let image = resolve(call, name.clone()).await?.id;
    let removed = call.daemon.engine.remove_image(&name, force, noprune).await?;
    ok(&report(call, Some(image), removed))
}

async fn prune(call: &Call) -> Answer {
    let known = ["dangling", "label", "label!", "until"];
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &known)?;
    let only_dangling = flag(&filters, "dangling")?.unwrap_or(true);
    let until = super::until(call, &filters)?;
    let wanted = |image: &Image| {
        let doomed = !only_dangling || image.references.is_empty();
        let old = until.is_none_or(|until| created(image) < until.seconds());
        doomed && old && filters.labels(&image.config.config.labels)
    };
    let (removed, reclaimed) = call.daemon.engine.prune_images(wanted).await?;
    let removed = (!removed.is_empty()).then(|| report(call, None, removed));
    ok(&json!({ "ImagesDeleted": removed, "SpaceReclaimed": reclaimed }))
}

/// `POST /commit`.
pub(crate) async fn commit(mut call: Call) -> Answer {
    let config: Option<RunConfig> = call.optional_json().await?;
    let query = &call.query;
    let repo = query.value("repo").unwrap_or_default();
    let name = (!repo.is_empty())
        .then(|| reference(repo, query.value("tag").unwrap_or_default()))
        .transpose()?;
    let text = |name: &str| query.value(name).unwrap_or_default().to_owned();
    let request = CommitRequest {
        config,
        changes: query.all("changes").map(str::to_owned).collect(),
        author: text("author"),
        comment: text("comment"),
    };
    let stillness = match query.non_empty("pause") {
        Some(_) if !query.flag("pause") => Stillness::GoOn,
        _ => Stillness::Pause,
    };
    let id = call.daemon.engine.commit(&text("container"), request, stillness).await?;
    if let Some(name) = name {
        call.daemon.engine.blocking(move |engine| engine.images().tag(&id, &name)).await?;
    }
    Ok(answer(StatusCode::CREATED, &json!({ "Id": id.to_string() })))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_within_a_component() {
        for (pattern, text, expected) in [
            ("nano*", "nanoserver", true),
            ("nano*:ltsc*", "nanoserver:ltsc2022", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a?c", "abc", true),
            ("abc", "abcd", false),
            ("a*a*b", "aaab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
