//! `oriel cp` and `oriel export`: files in and out of containers.
//!
//! Where things land is Docker's rule: a directory that exists takes the source inside, anything
//! else becomes the source. What comes out of a container is written without following a link.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::{
    completion,
    connection::{At, Client, PieceWriter, Pieces, Refused, Stream},
    screen::talk,
    spool,
};

/// The header with what a path is.
const STAT: &str = "X-Docker-Container-Path-Stat";

/// Go's bits of a file mode: a directory.
const DIRECTORY: u64 = 1 << 31;

#[derive(Args)]
#[command(after_help = "Give CONTAINER:PATH on one side and a path here, or - for a tar stream, \
                        on the other.\nExample: oriel cp web:'C:\\logs' ./logs")]
pub(crate) struct Copy {
    /// From where: CONTAINER:PATH, a path, or -
    source: String,
    /// To where: CONTAINER:PATH, a path, or -
    destination: String,
    /// Keep who owns files; containers of Windows have no such numbers
    #[arg(short, long)]
    archive: bool,
    /// Follow the source if it is a link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args)]
pub(crate) struct Export {
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// File to write; standard output unless given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `oriel export`
pub(crate) async fn export(client: &Client, wanted: &Export) -> anyhow::Result<ExitCode> {
    let stream = client.open(&At::path(&["containers", &wanted.container, "export"])).await?;
    spool::save(stream, wanted.output.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}

/// `oriel cp`
pub(crate) async fn copy(client: &Client, wanted: &Copy) -> anyhow::Result<ExitCode> {
    match (place(&wanted.source), place(&wanted.destination)) {
        (Some((container, path)), None) => out(client, container, path, wanted).await?,
        (None, Some((container, path))) => into(client, container, path, wanted).await?,
        (Some(_), Some(_)) => bail!("copying between containers takes two steps, or a pipe of -"),
        (None, None) => bail!("neither side is a container; write CONTAINER:PATH"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Container and path of `CONTAINER:PATH`.
fn place(text: &str) -> Option<(&str, &str)> {
    if text == "-" || text.starts_with(['/', '.', '~']) {
        return None;
    }
    text.split_once(':').filter(|(container, path)| !container.is_empty() && !path.is_empty())
}

/// The last component of a path of either kind, and what stands before it.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches(['/', '\\']);
    match path.rfind(['/', '\\', ':']) {
        Some(at) => (&path[..=at], &path[at + 1..]),
        None => ("", path),
    }
}

async fn out(client: &Client, id: &str, path: &str, wanted: &Copy) -> anyhow::Result<()> {
    let contents = path.ends_with("/.") || path.ends_with("\\.");
    let at = At::path(&["containers", id, "archive"]).with("path", path);
    let mut stream = client.open(&at).await?;
    let stat = stat(&stream)?;
    if wanted.destination == "-" {
        if io::stdout().is_terminal() {
            bail!("a tar stream is nothing to look at; write to a file or a pipe");
        }
        return spool::save(stream, None).await;
    }
    let target = Path::new(&wanted.destination);
    let is_directory = stat["mode"].as_u64().unwrap_or_default() & DIRECTORY != 0;
    let must_exist = wanted.destination.ends_with('/') && !is_directory;
    let (root, renamed) = landing(target, contents, must_exist)?;
    let spooled = spool::temporary(&mut stream).await?;
    let count = tokio::task::spawn_blocking(move || unpack(spooled, &root, renamed.as_deref()));
    let count = count.await??;
    if !wanted.quiet {
        let s = if count == 1 { "" } else { "s" };
        talk(&format!("copied {count} file{s} to {}", target.display()));
    }
    Ok(())
}

fn stat(stream: &Stream) -> anyhow::Result<Value> {
    let text = stream.header(STAT).context("the daemon does not say what the path is")?;
    Ok(serde_json::from_slice(&STANDARD.decode(text)?)?)
}

/// The directory that entries go into, and the name that their first component gets; an empty one
/// takes it off.
fn landing(
    target: &Path,
    contents: bool,
    must_exist: bool,
) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    if target.is_dir() {
        return Ok((target.to_owned(), contents.then(PathBuf::new)));
    }
    if must_exist {
        bail!("there is no directory {}; make it first", target.display());
    }
    let name = target.file_name().context("the destination has no name")?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if !parent.is_dir() {
        bail!("there is no directory {}; make it first", parent.display());
    }
    Ok((parent.to_owned(), Some(name.into())))
}

/// Writes the entries of an archive, without following links, and counts them.
fn unpack(archive: impl Read, root: &Path, renamed: Option<&Path>) -> anyhow::Result<u64> {
    let mut archive = tar::Archive::new(archive);
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Some(relative) = rename(&path, renamed)? else {
            continue;
        };
        let kind = entry.header().entry_type();
        through_directories(root, &relative, kind.is_dir())?;
        let target = root.join(&relative);
        if kind.is_hard_link() {
            let link = entry.link_name()?.context("a link in the archive leads nowhere")?;
            let link = rename(&link, renamed)?.context("a link in the archive leads nowhere")?;
            through_directories(root, &link, false)?;
            fs_err::hard_link(root.join(link), &target)?;
        } else if kind.is_dir() || kind.is_file() || kind.is_symlink() {
            entry.unpack(&target).with_context(|| format!("cannot write {}", target.display()))?;
        }
        count += u64::from(!kind.is_dir());
    }
    Ok(count)
}

/// The path with another first component, which may be `.`; none if nothing is left of it.
fn rename(path: &Path, renamed: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let leads_out =
        |part: &Component<'_>| !matches!(part, Component::Normal(_) | Component::CurDir);
    if path.components().any(|part| leads_out(&part)) {
        bail!("the archive has a path that leads out of it: {}", path.display());
    }
    let path: PathBuf = match renamed {
        Some(name) => name.components().chain(path.components().skip(1)).collect(),
        None => path.components().filter(|part| *part != Component::CurDir).collect(),
    };
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// Refuses a path below `root` that goes through a link, and makes the directories it needs.
fn through_directories(root: &Path, relative: &Path, whole: bool) -> anyhow::Result<()> {
    let way = if whole { Some(relative) } else { relative.parent() };
    let mut place = root.to_owned();
    for part in way.into_iter().flat_map(Path::components) {
        place.push(part);
        match fs_err::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => bail!("{} is no directory; remove it, or copy elsewhere", place.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs_err::create_dir(&place)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn into(client: &Client, id: &str, path: &str, wanted: &Copy) -> anyhow::Result<()> {
    let (directory, name) = target(client, id, path).await?;
    let at = At::path(&["containers", id, "archive"])
        .with("path", &directory)
        .with("noOverwriteDirNonDir", "true");
    let pieces = if wanted.source == "-" {
        Pieces::of(io::stdin())
    } else {
        local(&wanted.source, name, wanted.follow_link)?
    };
    client.call(Method::PUT, &at).pieces("application/x-tar", pieces).send().await?;
    if !wanted.quiet {
        talk(&format!("copied to {id}:{path}"));
    }
    Ok(())
}

/// The directory in the container to copy into, and the name the source gets there.
async fn target(client: &Client, id: &str, path: &str) -> anyhow::Result<(String, Option<String>)> {
    let at = At::path(&["containers", id, "archive"]).with("path", path);
    let is_directory = match client.call(Method::HEAD, &at).send().await {
        Ok(answer) => stat(&answer)?["mode"].as_u64().unwrap_or_default() & DIRECTORY != 0,
        Err(error) if Refused::is(&error, 404) => {
            // The container may be what is missing: this says so in the daemon's words.
            client.get::<Value>(&At::path(&["containers", id, "json"])).await?;
            false
        }
        Err(error) => return Err(error),
    };
    if is_directory {
        return Ok((path.to_owned(), None));
    }
    match split(path) {
        (_, "") => bail!("{path:?} is no path in a container"),
        (parent, name) => {
            let parent = if parent.is_empty() { "\\" } else { parent };
            Ok((parent.to_owned(), Some(name.to_owned())))
        }
    }
}

/// A tar of a path here, under another name if there is one.
fn local(source: &str, name: Option<String>, follow: bool) -> anyhow::Result<Pieces> {
    let path = PathBuf::from(source);
    let found = fs_err::symlink_metadata(&path)?;
    let path = if found.is_symlink() && follow { fs_err::canonicalize(&path)? } else { path };
    let contents = source.ends_with("/.") || source == ".";
    let own = std::path::absolute(&path)?.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = match (name, contents) {
        (None, true) => ".".to_owned(),
        (Some(name), _) => name,
        (None, false) => own.context("the source has no name")?,
    };
    let (writer, pieces) = Pieces::channel();
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(64 << 10, writer);
        if let Err(error) = pack(&path, &name, &mut out) {
            out.get_ref().fail(error);
        }
    });
    Ok(pieces)
}

fn pack(path: &Path, name: &str, out: &mut io::BufWriter<PieceWriter>) -> io::Result<()> {
    let mut builder = tar::Builder::new(&mut *out);
    builder.follow_symlinks(false);
    match path.is_dir() && !path.is_symlink() {
        true => builder.append_dir_all(name, path)?,
        false => builder.append_path_with_name(path, name)?,
    }
    builder.finish()?;
    drop(builder);
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let body = if kind.is_file() { content.as_bytes() } else { b"" };
            if !kind.is_file() && !content.is_empty() {
                header.set_link_name(content).unwrap();
            }
            header.set_size(u64::try_from(body.len()).unwrap());
            header.set_cksum();
            builder.append(&header, body).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn sides_are_told_apart() {
        assert_eq!(place("web:C:\\a"), Some(("web", "C:\\a")));
        for here in ["./a:b", "/a:b", "-", "a", "../x"] {
            assert_eq!(place(here), None, "{here}");
        }
        assert_eq!(split("C:\\a\\b"), ("C:\\a\\", "b"));
        assert_eq!(split("C:b"), ("C:", "b"));
        assert_eq!(split("b/"), ("", "b"));
    }

    #[test]
    fn entries_land_where_docker_puts_them() {
        use tar::EntryType::{Directory, Regular};
        let root = tempfile::tempdir().unwrap();
        let bytes = archive(&[("d", Directory, ""), ("d/f", Regular, "x")]);
        assert_eq!(unpack(&bytes[..], root.path(), None).unwrap(), 1);
        assert_eq!(unpack(&bytes[..], root.path(), Some(Path::new("other"))).unwrap(), 1);
        assert_eq!(unpack(&bytes[..], root.path(), Some(Path::new(""))).unwrap(), 1);
        let contents = archive(&[("./", Directory, ""), ("./g", Regular, "x")]);
        assert_eq!(unpack(&contents[..], root.path(), Some(Path::new("new"))).unwrap(), 1);
        for file in ["d/f", "other/f", "f", "new/g"] {
            assert_eq!(fs_err::read_to_string(root.path().join(file)).unwrap(), "x");
        }
    }

    #[test]
    fn an_archive_leads_nowhere_else() {
        use tar::EntryType::{Link, Regular, Symlink};
        let outside = tempfile::tempdir().unwrap();
        let to = outside.path().display().to_string();
        for entries in [
            vec![("../f", Regular, "x")],
            vec![("/f", Regular, "x")],
            vec![("l", Symlink, to.as_str()), ("l/f", Regular, "x")],
            vec![("l", Link, "../../etc/passwd")],
        ] {
            let root = tempfile::tempdir().unwrap();
            let root = root.path().join("in");
            fs_err::create_dir(&root).unwrap();
            let result = unpack(&archive(&entries)[..], &root, None);
            assert!(result.is_err(), "{entries:?}");
            assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
        }
    }
}
