//! `oriel registry`: the registry of containers and images.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use hyper::Method;
use oriel_api::registry::{Data, RegistryData, RegistryImported, RegistryKey, RegistryLine};
use serde_json::json;

use crate::connection::{At, Client};
use crate::lines::Lines;
use crate::screen::{Colour, Screen, plain, print, talk};

/// Largest registry file that a daemon takes.
const MAX_FILE: u64 = 64 << 20;

/// Keys asked for at once.
const PAGE: usize = 1000;

#[derive(clap::Subcommand)]
pub(crate) enum RegistryCommand {
    /// Show the values and subkeys of a key
    Query(Query),
    /// Write a key with everything below it as a registry file (.reg)
    #[command(after_help = "A FILE is in UTF-16, as regedit writes it; standard output is UTF-8.")]
    Export(Export),
    /// Make the changes of a registry file (.reg)
    ///
    /// A container is changed in place, whether it runs or not. Of an image a new one is made, with
    /// one layer more; its id is printed.
    Import(Import),
    /// Show the keys below a key as a tree
    Tree(Tree),
}

/// A key of a container or image.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// Container or image; of two with the same name the container
    target: String,
    /// Key, such as 'HKLM\Software\Microsoft'; also HKCU, HKU, HKCR, HKCC and long names
    key: String,
}

#[derive(clap::Args)]
pub(crate) struct Query {
    #[command(flatten)]
    place: Place,
    /// Show only the value of this name; "" is the default value
    #[arg(short, long, value_name = "NAME")]
    value: Option<String>,
    /// Show all keys below, too
    #[arg(short = 's', long)]
    recursive: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    place: Place,
    /// Where to write; - is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Import {
    /// Container or image; of two with the same name the container
    target: String,
    /// The registry file; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Name for the new image; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct Tree {
    /// Container or image; of two with the same name the container
    target: String,
    /// Key to begin with
    #[arg(default_value = "HKLM")]
    key: String,
    /// Levels to show
    #[arg(long, value_name = "LEVELS")]
    depth: Option<usize>,
}

pub(crate) async fn run(client: &Client, command: RegistryCommand) -> anyhow::Result<ExitCode> {
    match command {
        RegistryCommand::Query(query) => self::query(client, &query).await,
        RegistryCommand::Export(wanted) => export(client, &wanted).await,
        RegistryCommand::Import(wanted) => import(client, &wanted).await,
        RegistryCommand::Tree(wanted) => tree(client, &wanted).await,
    }
}

/// The keys and values of an answer of several pages.
struct Pages<'a> {
    client: &'a Client,
    at: At,
    lines: Lines,
}

impl<'a> Pages<'a> {
    async fn open(
        client: &'a Client,
        place: &Place,
        more: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let at = At::path(&["oriel", "registry"])
            .with("target", &place.target)
            .with("key", &place.key)
            .with("limit", PAGE);
        let at = more.iter().fold(at, |at, (name, value)| at.with(name, value));
        let lines = Lines::new(client.open(&at).await?);
        Ok(Self { client, at, lines })
    }

    /// The next key or value.
    async fn next(&mut self) -> anyhow::Result<Option<RegistryLine>> {
        loop {
            match self.lines.next().await? {
                Some(RegistryLine::Next(after)) => {
                    let at = self.at.clone().with("after", after);
                    self.lines = Lines::new(self.client.open(&at).await?);
                }
                other => return Ok(other),
            }
        }
    }
}

async fn query(client: &Client, query: &Query) -> anyhow::Result<ExitCode> {
    let mut more = match (query.recursive, &query.value) {
        (true, _) => Vec::new(),
        (false, None) => vec![("depth", "1".to_owned())],
        (false, Some(_)) => vec![("depth", "0".to_owned())],
    };
    more.extend(query.value.iter().map(|value| ("value", value.clone())));
    let mut pages = Pages::open(client, &query.place, &more).await?;
    let mut screen = Screen::new();
    let found = match query.json {
        true => Json { all: query.recursive, open: false, keys: 0 }.write(&mut pages, &mut screen),
        false => return text(query, &mut pages, &mut screen).await,
    };
    let keys = found.await?;
    found_something(query, keys)
}

/// Complains when a value that was asked for is nowhere.
fn found_something(query: &Query, found: usize) -> anyhow::Result<ExitCode> {
    match &query.value {
        Some(value) if found == 0 => bail!("no value {value:?} in {}", query.place.key),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints what a query found as `reg query` does.
async fn text(
    query: &Query,
    pages: &mut Pages<'_>,
    screen: &mut Screen,
) -> anyhow::Result<ExitCode> {
    let (mut found, mut below, mut first) = (0, false, true);
    while let Some(line) = pages.next().await? {
        match line {
            RegistryLine::Key(key) => {
                below = key.depth > 0 && !query.recursive;
                let path = plain(&key.path);
                if !below || first {
                    screen.line("")?;
                }
                first = !below;
                match &key.link {
                    Some(link) => screen.text(&format!("{path} -> {}", plain(link)))?,
                    None if below => screen.text(&path)?,
                    None => screen.text(&screen.paint(Colour::Bold, &path))?,
                }
                screen.line("")?;
            }
            RegistryLine::Value(_) if below => {}
            RegistryLine::Value(value) => {
                found += 1;
                let kind = screen.paint(Colour::Dim, &value.data.kind).into_owned();
                let (name, data) = (name(&value.name), shown(&value.data));
                screen.line(&format!("    {name}    {kind}    {data}"))?;
            }
            RegistryLine::Next(_) => {}
        }
    }
    screen.line("")?;
    screen.flush()?;
    found_something(query, found)
}

/// A list of keys as JSON, written while it comes.
struct Json {
    /// Whether keys below have values of their own, and are not only names.
    all: bool,
    open: bool,
    keys: usize,
}

impl Json {
    /// Returns how many values there were.
    async fn write(mut self, pages: &mut Pages<'_>, screen: &mut Screen) -> anyhow::Result<usize> {
        let (mut values, mut of_key, mut below) = (0, 0, 0);
        screen.text("[")?;
        while let Some(line) = pages.next().await? {
            match line {
                RegistryLine::Key(key) if key.depth > 0 && !self.all => {
                    screen.text(if below == 0 { "],\n  \"Subkeys\": [" } else { ", " })?;
                    screen.text(&json!(key.name).to_string())?;
                    below += 1;
                }
                RegistryLine::Key(key) => {
                    self.key(&key, screen)?;
                    of_key = 0;
                }
                RegistryLine::Value(_) if below > 0 => {}
                RegistryLine::Value(value) => {
                    screen.text(if of_key == 0 { "\n    " } else { ",\n    " })?;
                    screen.text(&serde_json::to_string(&value)?)?;
                    (values, of_key) = (values + 1, of_key + 1);
                }
                RegistryLine::Next(_) => {}
            }
        }
        self.close(screen)?;
        screen.line("]")?;
        screen.flush()?;
        Ok(values)
    }

    /// Begins a key.
    fn key(&mut self, key: &RegistryKey, screen: &mut Screen) -> std::io::Result<()> {
        self.close(screen)?;
        screen.text(if self.keys == 0 { "{" } else { ", {" })?;
        let fields =
            [("Path", Some(&key.path)), ("Class", key.class.as_ref()), ("Link", key.link.as_ref())];
        for (field, text) in fields.iter().filter_map(|(field, text)| Some((field, (*text)?))) {
            screen.text(&format!("\n  \"{field}\": {},", json!(text)))?;
        }
        screen.text("\n  \"Values\": [")?;
        self.open = true;
        self.keys += 1;
        Ok(())
    }

    fn close(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        match std::mem::take(&mut self.open) {
            true => screen.text("]\n}"),
            false => Ok(()),
        }
    }
}

/// Name of a value as `reg` shows it.
pub(crate) fn name(name: &str) -> std::borrow::Cow<'_, str> {
    if name.is_empty() { "(Default)".into() } else { plain(name) }
}

/// What a value says, as `reg` shows it.
pub(crate) fn shown(data: &RegistryData) -> String {
    match &data.data {
        Data::Number(number) => format!("0x{number:x}"),
        Data::Text(text) => plain(text).into_owned(),
        Data::Texts(texts) => plain(&texts.join(r"\0")).into_owned(),
        Data::Bytes { hex } => hex.to_uppercase(),
    }
}

async fn export(client: &Client, wanted: &Export) -> anyhow::Result<ExitCode> {
    let to_screen = wanted.file.as_os_str() == "-";
    let at = At::path(&["oriel", "registry", "export"])
        .with("target", &wanted.place.target)
        .with("key", &wanted.place.key)
        .with("encoding", if to_screen { "utf-8" } else { "utf-16" });
    let mut stream = client.open(&at).await?;
    if to_screen {
        let mut out = std::io::stdout();
        while let Some(piece) = stream.piece().await? {
            out.write_all(&piece)?;
        }
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut file = fs_err::File::create(&wanted.file)?;
    while let Some(piece) = stream.piece().await.inspect_err(|_| discard(&wanted.file))? {
        file.write_all(&piece).inspect_err(|_| discard(&wanted.file))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes a file that is not whole.
fn discard(file: &Path) {
    if file.is_file() {
        // What went wrong first is what a person has to know.
        let _ = fs_err::remove_file(file);
    }
}

async fn import(client: &Client, wanted: &Import) -> anyhow::Result<ExitCode> {
    let mut at = At::path(&["oriel", "registry", "import"]).with("target", &wanted.target);
    for tag in &wanted.tags {
        at = at.with("t", tag);
    }
    let file = read(&wanted.file)?;
    let call = client.call(Method::POST, &at).bytes(file.into());
    let done: RegistryImported = call.send().await?.json().await?;
    let (keys, values) = (counted(done.keys, "key"), counted(done.values, "value"));
    talk(&format!("imported {keys} and {values}"));
    if let Some(image) = done.image {
        print(&format!("{image}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A number of things.
fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Reads a registry file, unless it is larger than any.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    match path.as_os_str() == "-" {
        true => std::io::stdin().take(MAX_FILE + 1).read_to_end(&mut file),
        false => fs_err::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut file),
    }
    .context("cannot read the registry file")?;
    if file.len() as u64 > MAX_FILE {
        bail!("{} is larger than {} MiB, the most a daemon takes", path.display(), MAX_FILE >> 20);
    }
    Ok(file)
}

async fn tree(client: &Client, wanted: &Tree) -> anyhow::Result<ExitCode> {
    let place = Place { target: wanted.target.clone(), key: wanted.key.clone() };
    let mut more = vec![("values", "0".to_owned())];
    more.extend(wanted.depth.map(|depth| ("depth", depth.to_string())));
    let mut pages = Pages::open(client, &place, &more).await?;
    let mut screen = Screen::paged();
    let mut branches = Branches::default();
    while let Some(line) = pages.next().await? {
        let RegistryLine::Key(key) = line else { continue };
        let branch = branches.before(key.depth, key.last);
        let text = plain(if key.depth == 0 { &key.path } else { &key.name });
        let tail = match (&key.link, key.values) {
            (Some(link), _) => format!(" -> {}", plain(link)),
            (None, 0) => String::new(),
            (None, values) => format!("  {}", counted(values, "value")),
        };
        let (branch, tail) = (screen.paint(Colour::Dim, &branch), screen.paint(Colour::Dim, &tail));
        let line = format!("{branch}{text}{tail}");
        screen.line(&line)?;
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The lines that lead to a key.
#[derive(Default)]
struct Branches {
    /// Whether the key at each level above was the last of its level.
    ended: Vec<bool>,
}

impl Branches {
    fn before(&mut self, depth: usize, last: bool) -> String {
        let Some(above) = depth.checked_sub(1) else { return String::new() };
        self.ended.truncate(above);
        let mut text: String =
            self.ended.iter().map(|ended| if *ended { "    " } else { "│   " }).collect();
        text += if last { "└── " } else { "├── " };
        self.ended.push(last);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_reg_shows_them() {
        let data = |kind: &str, data| RegistryData { kind: kind.into(), data };
        for (value, text) in [
            (data("REG_SZ", Data::Text("a\nb".into())), r"a\nb"),
            (data("REG_DWORD", Data::Number(42)), "0x2a"),
            (data("REG_MULTI_SZ", Data::Texts(vec!["a".into(), "b".into()])), r"a\0b"),
            (data("REG_BINARY", Data::Bytes { hex: "0aff".into() }), "0AFF"),
        ] {
            assert_eq!(shown(&value), text);
        }
        assert_eq!((name(""), name("x")), ("(Default)".into(), "x".into()));
    }

    #[test]
    fn branches_lead_to_their_keys() {
        let mut branches = Branches::default();
        let steps = [(0, true), (1, false), (2, true), (3, true), (1, true), (2, false)];
        let drawn: Vec<_> = steps.map(|(depth, last)| branches.before(depth, last)).into();
        assert_eq!(drawn, ["", "├── ", "│   └── ", "│       └── ", "└── ", "    ├── "]);
    }
}
