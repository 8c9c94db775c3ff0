//! The stages in order, each resumable.
//!
//! ```text
//! debian ─▶ root (reduced) ─┐
//!    └────▶ windows (strip) ┴─▶ prefix (Wine ran) ─▶ nanoserver, windowsservercore
//!                                                       └─▶ ID/, current.json
//! ```
//!
//! A stage writes to `NAME.partial.PID` and renames it to `NAME` when done; what is called `NAME`
//! is therefore complete, and a run that was cut off starts again at the first name that is
//! missing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{Digesting, Sources};
use crate::registry::Flavour;
use crate::{
    Base, BuildOptions, Built, Personality, PersonalityError, Progress, Stage, Unit, base, debian,
    hex, io_error, mend, prefix, reduce, sources, strip, unexpected,
};

/// Changes whenever this crate would make something else from the same packages.
const RECIPE: u32 = 7;

/// Where apt keeps its sources.
const APT: &str = "/etc/apt";

/// `current.json`: which result is in use.
#[derive(Debug, Serialize, Deserialize)]
struct Current {
    key: String,
    id: String,
}

/// A finished layer beside its tar.
#[derive(Debug, Serialize, Deserialize)]
struct Layer {
    diff_id: String,
    tar_bytes: u64,
    entries: u64,
}

/// See [`crate::build`].
pub(crate) fn build(
    data_root: &Path,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, PersonalityError> {
    let home = data_root.join("personality");
    let key = key();
    let usable = read_json::<Current>(&home.join("current.json"))?.is_some_and(|c| c.key == key);
    if usable
        && !options.rebuild
        && let Some(built) = built(data_root)?
    {
        return Ok(built);
    }
    let mirror = match &options.mirror {
        Some(mirror) => mirror.clone(),
        None => sources::mirror(Path::new(APT))?,
    };
    let work = home.join("work").join(&key);
    fs_err::create_dir_all(&work).map_err(io_error("make the work directory"))?;
    prepare(&mirror, &work, progress)?;
    let packages = debian::packages(&work.join("debian"))?;
    let wine_version = debian::wine_version(&packages)?;
    let id = digest(&format!("{RECIPE}\n{}", packages.join("\n")))[..16].to_owned();
    let layers = layers(&work, progress)?;
    let built = assemble(
        &home,
        &work,
        Personality { root: home.join(&id).join("root"), id, wine_version },
        layers,
    )?;
    write_json(&home.join("current.json"), &Current { key, id: built.personality.id.clone() })?;
    if !options.keep_work
        && let Err(error) = remove(&work)
    {
        tracing::warn!(%error, "the work directory of a finished build stays");
    }
    Ok(Built { reused: false, ..built })
}

/// See [`crate::built`].
pub(crate) fn built(data_root: &Path) -> Result<Option<Built>, PersonalityError> {
    let home = data_root.join("personality");
    let Some(current) = read_json::<Current>(&home.join("current.json"))? else { return Ok(None) };
    let directory = home.join(&current.id);
    let Some(mut built) = read_json::<Built>(&directory.join("built.json"))? else {
        return Ok(None);
    };
    // The data root may have been moved since.
    built.personality.root = directory.join("root");
    for base in &mut built.bases {
        base.layer_tar = directory.join(format!("{}.tar", base.name));
    }
    let complete =
        built.personality.root.is_dir() && built.bases.iter().all(|base| base.layer_tar.is_file());
    Ok(complete.then_some(Built { reused: true, ..built }))
}

/// What a build depends on, apart from the state of the mirror.
fn key() -> String {
    let inputs = [debian::PACKAGES.join(" "), debian::ALONE.join(" ")].join("\n");
    digest(&format!("{RECIPE}\n{}\n{}\n{inputs}", debian::SUITE, oriel_hcs::OS_VERSION))[..16]
        .to_owned()
}

/// Stages 1 to 4.
fn prepare(
    mirror: &str,
    work: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), PersonalityError> {
    let tree = work.join("debian");
    let mut note = reporter(Stage::Debian, progress);
    stage(work, "debian", |target| {
        debian::unpack(mirror, target, &mut note)?;
        // Out of the way of Wine, which would note their Unix paths in the registry.
        let fonts = target.join(debian::DOWNLOADS).join("fonts");
        fs_err::rename(target.join("usr/share/wine/fonts"), fonts)
            .map_err(io_error("set the fonts aside"))
    })?;
    drop(note);
    let mut note = reporter(Stage::Reduce, progress);
    stage(work, "root", |target| {
        note("choosing what Wine needs", 0, 0);
        reduce::reduce(&tree, target)?;
        mend::mend(target)
    })?;
    drop(note);
    let mut note = reporter(Stage::Strip, progress);
    stage(work, "windows", |target| strip::strip(&tree, target, &mut note))?;
    drop(note);
    let mut note = reporter(Stage::Registry, progress);
    stage(work, "prefix", |target| {
        note("running wineboot", 0, 0);
        let share = tree.join("usr/share/wine");
        prefix::fill(&work.join("root"), &work.join("windows"), &share, target)
    })
}

/// Stage 5.
fn layers(work: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Base>, PersonalityError> {
    let (windows, prefix, debian) =
        (work.join("windows"), work.join("prefix"), work.join("debian"));
    let epoch = epoch(&debian)?;
    let sources = Sources { windows: &windows, prefix: &prefix, debian: &debian, epoch };
    let mut bases = Vec::new();
    for flavour in Flavour::ALL {
        let name = flavour.name();
        let mut note = reporter(Stage::Base, progress);
        stage(work, name, |target| {
            fs_err::create_dir_all(target).map_err(io_error("make a directory"))?;
            let file = fs_err::File::create(target.join("layer.tar"))
                .map_err(io_error("write the layer"))?;
            let mut output = Digesting::new(file);
            let entries = base::write(flavour, &sources, &mut output, &mut |text, done, total| {
                note(&format!("{name}: {text}"), done, total);
            })?;
            let tar_bytes = output.written;
            let (file, diff_id) = output.finish();
            file.sync_all().map_err(io_error("write the layer"))?;
            write_json(&target.join("layer.json"), &Layer { diff_id, tar_bytes, entries })
        })?;
        let layer: Layer = read_json(&work.join(name).join("layer.json"))?
            .ok_or_else(|| unexpected("read a finished layer", "its description is missing"))?;
        bases.push(Base {
            name: name.to_owned(),
            layer_tar: work.join(name).join("layer.tar"),
            config: base::config(
                flavour,
                &layer.diff_id,
                &jiff::Timestamp::from_second(epoch).unwrap_or_default().to_string(),
            ),
            tar_bytes: layer.tar_bytes,
            entries: layer.entries,
        });
    }
    Ok(bases)
}

/// Moves the results to their place.
fn assemble(
    home: &Path,
    work: &Path,
    personality: Personality,
    mut bases: Vec<Base>,
) -> Result<Built, PersonalityError> {
    let attempt = "put the personality in place";
    let target = home.join(&personality.id);
    let partial = home.join(format!("{}.partial", personality.id));
    remove(&partial)?;
    fs_err::create_dir_all(&partial).map_err(io_error(attempt))?;
    for base in &mut bases {
        let name = format!("{}.tar", base.name);
        fs_err::hard_link(&base.layer_tar, partial.join(&name)).map_err(io_error(attempt))?;
        base.layer_tar = target.join(name);
    }
    let personality_bytes = size(&work.join("root"))?;
    let built = Built { personality, bases, personality_bytes, reused: false };
    write_json(&partial.join("built.json"), &built)?;
    fs_err::rename(work.join("root"), partial.join("root")).map_err(io_error(attempt))?;
    remove(&target)?;
    fs_err::rename(&partial, &target).map_err(io_error(attempt))?;
    Ok(built)
}

/// Makes `work/name` unless it is there.
fn stage(
    work: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), PersonalityError>,
) -> Result<(), PersonalityError> {
    let target = work.join(name);
    if target.exists() {
        return Ok(());
    }
    let started = format!("{name}.partial");
    discard(work, &started);
    let partial = work.join(format!("{started}.{}", std::process::id()));
    remove(&partial)?;
    make(&partial)?;
    fs_err::rename(&partial, &target).map_err(io_error("finish a stage of the build"))
}

/// Removes what killed builds left of a stage. What resists, because a tool that outlived its build
/// still writes there, is in nobody's way: it goes with the work directory.
fn discard(work: &Path, started: &str) {
    let Ok(entries) = fs_err::read_dir(work) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(started)
            && let Err(error) = fs_err::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, "an earlier build's leftovers stay for now");
        }
    }
}

fn remove(directory: &Path) -> Result<(), PersonalityError> {
    match fs_err::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove what an earlier build left")(error))
        }
        _ => Ok(()),
    }
}

fn reporter(stage: Stage, progress: &mut dyn FnMut(Progress)) -> impl FnMut(&str, u64, u64) {
    move |text, current, total| {
        progress(Progress { stage, text: text.to_owned(), current, total, unit: Unit::Items });
    }
}

/// Time of everything in the layers: that of Wine's loader in its package.
fn epoch(debian: &Path) -> Result<i64, PersonalityError> {
    use std::os::unix::fs::MetadataExt as _;
    let loader = debian.join("usr/lib/wine/wine64");
    Ok(fs_err::metadata(loader).map_err(io_error("read the time of the Wine package"))?.mtime())
}

fn size(directory: &Path) -> Result<u64, PersonalityError> {
    let mut total = 0;
    let mut queue: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(directory) = queue.pop() {
        let entries = fs_err::read_dir(&directory).map_err(io_error("measure the personality"))?;
        for entry in entries.flatten() {
            let metadata = entry.metadata().map_err(io_error("measure the personality"))?;
            if metadata.is_dir() {
                queue.push(entry.path());
            } else {
                total += metadata.len();
            }
        }
    }
    Ok(total)
}

fn digest(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// Reads a record; `None` when there is none.
fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, PersonalityError> {
    let bytes = match fs_err::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(io_error("read a record of the personality"))?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| unexpected(&format!("read {}", path.display()), &error.to_string()))
}

/// Writes a record so that a crash leaves the old one or the new one.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), PersonalityError> {
    let attempt = "write a record of the personality";
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| unexpected(attempt, &error.to_string()))?;
    let directory = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io_error(attempt))?;
    std::io::Write::write_all(&mut file, &bytes).map_err(io_error(attempt))?;
    file.as_file().sync_all().map_err(io_error(attempt))?;
    file.persist(path).map_err(|error| io_error(attempt)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_runs_once_and_a_failed_one_runs_again() {
        let work = tempfile::tempdir().unwrap();
        let fail = stage(work.path(), "a", |target| {
            fs_err::create_dir_all(target.join("half")).unwrap();
            Err(unexpected("try", "it failed"))
        });
        assert!(fail.is_err() && !work.path().join("a").exists());
        stage(work.path(), "a", |target| {
            assert!(!target.exists(), "what the failed run left is gone");
            fs_err::create_dir(target).map_err(io_error("make"))
        })
        .unwrap();
        stage(work.path(), "a", |_| panic!("done already")).unwrap();
    }

    #[test]
    fn what_a_killed_build_left_is_removed() {
        let work = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(work.path().join("a.partial.1/half")).unwrap();
        stage(work.path(), "a", |target| fs_err::create_dir(target).map_err(io_error("make")))
            .unwrap();
        let names: Vec<_> = fs_err::read_dir(work.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn a_result_that_misses_a_file_is_no_result() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(built(data.path()).unwrap(), None);
        let home = data.path().join("personality");
        fs_err::create_dir_all(home.join("id/root")).unwrap();
        let personality =
            Personality { id: "id".into(), root: "/moved".into(), wine_version: "10.0".into() };
        let base = Base {
            name: "nanoserver".into(),
            layer_tar: "/moved".into(),
            config: serde_json::json!({}),
            tar_bytes: 1,
            entries: 1,
        };
        let record = Built { personality, bases: vec![base], personality_bytes: 1, reused: false };
        write_json(&home.join("id/built.json"), &record).unwrap();
        write_json(&home.join("current.json"), &Current { key: key(), id: "id".into() }).unwrap();
        assert_eq!(built(data.path()).unwrap(), None);
        fs_err::write(home.join("id/nanoserver.tar"), "x").unwrap();
        let found = build(data.path(), &BuildOptions::default(), &mut |_| {}).unwrap();
        assert!(found.reused);
        assert_eq!(found.personality.root, home.join("id/root"));
    }
}
