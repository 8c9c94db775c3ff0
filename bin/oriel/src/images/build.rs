//! `oriel build`: an image from a Dockerfile, or what its checks find.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use hyper::Method;
use oriel_api::Line;
use oriel_ignore::Ignore;
use serde_json::json;

use super::{checks, context::Files};
use crate::{
    connection::{At, Client, Pieces, Stream},
    containers::text::pairs,
    credentials,
    exit::{Coded, low_bits},
    format::human::parse_bytes,
    lines::Lines,
    progress::Progress,
    screen::{print, talk},
};

/// Name that a Dockerfile from elsewhere gets in the context.
const ELSEWHERE: &str = ".oriel.Dockerfile";

/// Bytes that tell a tar stream from a Dockerfile.
const PEEK: usize = 512;

#[derive(Args)]
#[command(
    after_help = "CONTEXT - reads a tar stream, or a Dockerfile alone, from standard input. \
                        The daemon fetches what an address names."
)]
pub(crate) struct Build {
    /// Directory with the files of the build, address of an archive or a Dockerfile, or -
    context: String,
    /// The Dockerfile [default: Dockerfile in the context]; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Name for the image, NAME[:TAG]; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Value of an ARG, NAME=VALUE, or NAME to pass this one's on
    #[arg(long = "build-arg", value_name = "ARG")]
    build_args: Vec<String>,
    /// Stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Label, NAME=VALUE
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Make every step anew
    #[arg(long)]
    no_cache: bool,
    /// Pull the base images, though they are here
    #[arg(long)]
    pull: bool,
    /// Print the image's id only
    #[arg(short, long)]
    quiet: bool,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Platform, such as windows/amd64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Network of RUN steps
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// How RUN steps are kept apart
    #[arg(long, value_name = "ISOLATION")]
    isolation: Option<String>,
    /// Memory of RUN steps, such as 2g
    #[arg(short, long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<i64>,
    /// Processor weight of RUN steps
    #[arg(short, long, value_name = "NUMBER")]
    cpu_shares: Option<i64>,
    /// Line of the hosts file of RUN steps, NAME:ADDRESS
    #[arg(long = "add-host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Image whose steps may be reused
    #[arg(long = "cache-from", value_name = "IMAGE", value_delimiter = ',')]
    cache_from: Vec<String>,
    /// Remove the containers of steps
    #[arg(long, value_name = "YES", default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: bool,
    /// Remove the containers of steps, also after a failure
    #[arg(long)]
    force_rm: bool,
    /// Make one layer of all; this builder has none of that
    #[arg(long, hide = true)]
    squash: bool,
    /// Check the Dockerfile and build nothing; exits with 1 when something is found
    #[arg(long, conflicts_with_all = ["quiet", "iidfile"])]
    check: bool,
    /// How to show the progress; this builder has plain only
    #[arg(long, value_name = "TYPE", hide = true)]
    progress: Option<String>,
}

/// `oriel build`
pub(crate) async fn run(client: &Client, wanted: &Build) -> anyhow::Result<ExitCode> {
    let Sent { pieces, dockerfile, remote } = context(wanted)?;
    let at = at(wanted, &dockerfile)?.maybe("remote", remote.as_deref());
    let stream = client
        .call(Method::POST, &at)
        .header("X-Registry-Config", credentials::all().as_deref())
        .pieces("application/x-tar", pieces)
        .send()
        .await?;
    if wanted.check {
        let file = wanted.file.as_deref().unwrap_or("Dockerfile");
        return checks::show(stream, file).await;
    }
    let id = follow(stream, wanted.quiet).await?;
    if let Some(file) = &wanted.iidfile {
        let id = id.as_deref().context("the daemon does not say which image it has built")?;
        fs_err::write(file, id)?;
    }
    if wanted.quiet {
        print(&format!("{}\n", id.unwrap_or_default()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn at(wanted: &Build, dockerfile: &str) -> anyhow::Result<At> {
    let arguments: serde_json::Map<_, _> = wanted
        .build_args
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), json!(value)),
            None => (text.clone(), json!(std::env::var(text).ok())),
        })
        .collect();
    let mut at = At::path(&["build"])
        .with("dockerfile", dockerfile)
        .with("buildargs", serde_json::to_string(&arguments)?)
        .with("labels", serde_json::to_string(&pairs(&wanted.labels))?)
        .with("cachefrom", serde_json::to_string(&wanted.cache_from)?)
        .with("rm", u8::from(wanted.rm))
        .flag("forcerm", wanted.force_rm)
        .flag("nocache", wanted.no_cache)
        .flag("pull", wanted.pull)
        .flag("squash", wanted.squash)
        .flag("check", wanted.check)
        .maybe("target", wanted.target.as_deref())
        .maybe("platform", wanted.platform.as_deref())
        .maybe("networkmode", wanted.network.as_deref())
        .maybe("isolation", wanted.isolation.as_deref())
        .maybe("memory", wanted.memory)
        .maybe("cpushares", wanted.cpu_shares)
        .with("version", 1);
    for tag in &wanted.tags {
        at = at.with("t", tag);
    }
    for host in &wanted.hosts {
        // The older form, which is what daemons have always read.
        at = at.with("extrahosts", host.replacen('=', ":", 1));
    }
    Ok(at)
}

/// What is sent.
struct Sent {
    pieces: Pieces,
    /// The Dockerfile's path in it.
    dockerfile: String,
    /// Where the daemon gets the context instead.
    remote: Option<String>,
}

fn context(wanted: &Build) -> anyhow::Result<Sent> {
    let text = wanted.context.as_str();
    if text == "-" {
        let (pieces, dockerfile) = from_stdin(wanted)?;
        return Ok(Sent { pieces, dockerfile, remote: None });
    }
    if is_repository(text) {
        bail!("a Git repository is not taken as a context; clone {text} and name its directory");
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        let dockerfile = wanted.file.clone().unwrap_or_else(|| "Dockerfile".to_owned());
        let (pieces, remote) = (Pieces::of(io::empty()), Some(text.to_owned()));
        return Ok(Sent { pieces, dockerfile, remote });
    }
    let root = Path::new(text);
    if !root.is_dir() {
        bail!("there is no directory {text:?} to build from");
    }
    let (dockerfile, extra) = dockerfile(root, wanted.file.as_deref())?;
    let own = format!("{dockerfile}.dockerignore");
    let found = [own, ".dockerignore".to_owned()].into_iter().find(|f| root.join(f).is_file());
    let ignore = match &found {
        Some(file) => Ignore::parse(&fs_err::read_to_string(root.join(file))?)
            .with_context(|| format!("cannot read {file}"))?,
        None => Ignore::default(),
    };
    // The daemon applies the same file again.
    let needed = [Some(dockerfile.clone()), found].into_iter().flatten().collect();
    let files = Files { root: Some(root.to_owned()), ignore, needed, extra };
    Ok(Sent { pieces: files.send(), dockerfile, remote: None })
}

/// Whether a context is a Git repository (buildkit's `util/gitutil`).
fn is_repository(text: &str) -> bool {
    let path = text.split(['#', '?']).next().unwrap_or_default().trim_end_matches('/');
    let schemes = ["git://", "git@", "ssh://", "github.com/"];
    schemes.iter().any(|scheme| text.starts_with(scheme))
        || text.starts_with("http") && path.ends_with(".git")
}

/// Name and text of a Dockerfile that is not in the context.
type Elsewhere = (String, Vec<u8>);

/// The Dockerfile's path in the context, and its text if it is not there.
fn dockerfile(root: &Path, file: Option<&str>) -> anyhow::Result<(String, Option<Elsewhere>)> {
    let elsewhere = |text| (ELSEWHERE.to_owned(), Some((ELSEWHERE.to_owned(), text)));
    let Some(file) = file else {
        if !root.join("Dockerfile").is_file() {
            bail!("there is no Dockerfile in {}; name one with -f", root.display());
        }
        return Ok(("Dockerfile".to_owned(), None));
    };
    if file == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text)?;
        return Ok(elsewhere(text));
    }
    let path = [PathBuf::from(file), root.join(file)].into_iter().find(|path| path.is_file());
    let path = path.with_context(|| format!("there is no Dockerfile {file:?}"))?;
    let (path, root) = (fs_err::canonicalize(path)?, fs_err::canonicalize(root)?);
    match path.strip_prefix(&root).ok().and_then(Path::to_str) {
        Some(inside) => Ok((inside.to_owned(), None)),
        None => Ok(elsewhere(fs_err::read(&path)?)),
    }
}

/// A tar stream as it is, or a Dockerfile as the only file.
fn from_stdin(wanted: &Build) -> anyhow::Result<(Pieces, String)> {
    let mut front = Vec::new();
    io::stdin().take(u64::try_from(PEEK)?).read_to_end(&mut front)?;
    if is_archive(&front) {
        let name = wanted.file.clone().unwrap_or_else(|| "Dockerfile".to_owned());
        return Ok((Pieces::of(io::Cursor::new(front).chain(io::stdin())), name));
    }
    if wanted.file.is_some() {
        bail!("standard input is no tar stream, and -f names a file in one");
    }
    io::stdin().read_to_end(&mut front)?;
    let files = Files {
        root: None,
        ignore: Ignore::default(),
        needed: Vec::new(),
        extra: Some((ELSEWHERE.to_owned(), front)),
    };
    Ok((files.send(), ELSEWHERE.to_owned()))
}

/// Whether bytes begin a tar, or something compressed.
fn is_archive(front: &[u8]) -> bool {
    let packed: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    packed.iter().any(|magic| front.starts_with(magic))
        || front.get(257..262).is_some_and(|magic| magic == b"ustar")
}

/// Shows the build to its end and gives the image's id.
async fn follow(stream: Stream, quiet: bool) -> anyhow::Result<Option<String>> {
    let mut lines = Lines::new(stream);
    let mut progress = Progress::new(quiet);
    let (mut id, mut said) = (None, String::new());
    while let Some(line) = lines.next::<Line>().await? {
        if let Some(detail) = line.error_detail {
            progress.finish();
            if quiet {
                talk(said.trim_end());
            }
            let error = anyhow::anyhow!("{}", detail.message);
            let code = detail.code.map_or(1, |code| low_bits(code).max(1));
            return Err(Coded { code, error }.into());
        }
        if let Some(aux) = &line.aux {
            id = aux["ID"].as_str().map(str::to_owned).or(id);
        }
        match &line.stream {
            Some(text) if quiet => {
                if id.is_none() && text.trim().starts_with("sha256:") {
                    id = Some(text.trim().to_owned());
                }
                said += text;
            }
            Some(text) => print(text)?,
            None => progress.show(&Line { error_detail: None, ..line }),
        }
    }
    progress.finish();
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_may_be_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        assert!(dockerfile(root.path(), None).is_err());
        fs_err::create_dir(root.path().join("docker")).unwrap();
        fs_err::write(root.path().join("docker/app"), "FROM a").unwrap();
        assert_eq!(dockerfile(root.path(), Some("docker/app")).unwrap().0, "docker/app");
        let other = tempfile::NamedTempFile::new().unwrap();
        let (name, extra) = dockerfile(root.path(), other.path().to_str()).unwrap();
        assert_eq!((name.as_str(), extra.unwrap().1.len()), (ELSEWHERE, 0));
    }

    #[test]
    fn repositories_are_told_from_addresses_of_files() {
        for text in ["git@h:x.git", "https://h/x.git#main", "github.com/a/b", "git://h/x"] {
            assert!(is_repository(text), "{text}");
        }
        for text in ["https://h/x.tar.gz", "https://h/Dockerfile", ".", "dir.git"] {
            assert!(!is_repository(text), "{text}");
        }
    }

    #[test]
    fn archives_are_told_from_dockerfiles() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_dir("d", ".").unwrap();
        assert!(is_archive(&builder.into_inner().unwrap()));
        assert!(is_archive(b"\x1f\x8b..."));
        assert!(!is_archive(b"FROM nanoserver\n"));
    }
}
