//! `oriel context`: daemons by name.

mod store;

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    connection::{Endpoint, Tls, TlsMaterial},
    containers::text::pairs,
    format::{Column, Listing, Row, Shown, show_documents},
    place::Place,
    screen::{print, talk},
};
use store::Context;
pub(crate) use store::Store;

const FIELDS: &[Column] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "ENDPOINT"),
    ("Current", "CURRENT"),
    ("Source", "SOURCE"),
    ("TLS", "TLS"),
];

#[derive(Subcommand)]
pub(crate) enum ContextCommand {
    /// Make a context
    Create(Create),
    /// List contexts, Docker's among them
    #[command(visible_alias = "list")]
    Ls(List),
    /// Use a context from now on
    Use(Name),
    /// Print the name of the current context
    Show,
    /// Show all about contexts
    Inspect(Inspect),
    /// Remove contexts
    #[command(visible_alias = "remove")]
    Rm(Remove),
}

#[derive(Args)]
#[command(after_help = "Examples:\n  oriel context create box --host ssh://ann@box\n  \
                        oriel context create lab --host tcp://lab:2376 --ca ca.pem --cert \
                        cert.pem --key key.pem\n  oriel context create lab --docker \
                        'host=tcp://lab:2376,ca=ca.pem,cert=cert.pem,key=key.pem'")]
pub(crate) struct Create {
    /// Name
    name: String,
    /// Words about it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Authorities that may vouch for the daemon
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate to show
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// All of it as Docker writes it: host=...,ca=...,cert=...,key=...
    #[arg(long, value_name = "OPTIONS")]
    docker: Option<String>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args)]
pub(crate) struct Name {
    /// Context; default is this machine's daemon
    name: String,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// Contexts; the current one unless named
    names: Vec<String>,
    /// A Go template such as '{{.Name}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// Contexts
    #[arg(required = true, value_name = "CONTEXT")]
    names: Vec<String>,
    /// The current one, too
    #[arg(short, long)]
    force: bool,
}

/// `oriel context`
pub(crate) fn run(place: &Place, command: ContextCommand) -> anyhow::Result<ExitCode> {
    let store = Store::open();
    match command {
        ContextCommand::Create(wanted) => create(&store, place, wanted)?,
        ContextCommand::Ls(wanted) => list(&store, &wanted)?,
        ContextCommand::Use(wanted) => {
            store.choose(&wanted.name)?;
            print(&format!("{}\n", wanted.name))?;
            for variable in ["ORIEL_HOST", "DOCKER_HOST", "ORIEL_CONTEXT", "DOCKER_CONTEXT"] {
                if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
                    talk(&format!("warning: {variable} is set and counts more; unset it"));
                }
            }
        }
        ContextCommand::Show => print(&format!("{}\n", store.current()))?,
        ContextCommand::Inspect(wanted) => inspect(&store, &wanted)?,
        ContextCommand::Rm(wanted) => {
            for name in &wanted.names {
                store.remove(name, wanted.force)?;
                print(&format!("{name}\n"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(store: &Store, place: &Place, wanted: Create) -> anyhow::Result<()> {
    let docker = pairs(
        &wanted.docker.map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect()),
    );
    let known = ["host", "ca", "cert", "key", "skip-tls-verify"];
    if let Some(unknown) = docker.keys().find(|name| !known.contains(&name.as_str())) {
        bail!("--docker has no {unknown:?}; it has host, ca, cert and key");
    }
    let path =
        |given: Option<PathBuf>, name: &str| given.or_else(|| docker.get(name).map(Into::into));
    let host = place.host.clone().or_else(|| docker.get("host").cloned());
    let Some(host) = host else { bail!("a context needs an address; give --host HOST") };
    Endpoint::parse(&host)?;
    let (ca, cert, key) =
        (path(wanted.ca, "ca"), path(wanted.cert, "cert"), path(wanted.key, "key"));
    let material = TlsMaterial::read(ca.as_deref(), cert.as_deref(), key.as_deref())?;
    let has_tls = material.authority.is_some() || material.identity.is_some();
    if has_tls {
        // What cannot be used is better said now.
        Tls::new(&material)?;
    }
    store.create(&wanted.name, &host, &wanted.description, has_tls.then_some(&material))?;
    print(&format!("{}\n", wanted.name))
}

fn list(store: &Store, wanted: &List) -> anyhow::Result<()> {
    let current = store.current();
    let mut listing =
        Listing::new(FIELDS, &["Name", "Description", "DockerEndpoint", "TLS", "Source"]);
    let mut names = String::new();
    for context in std::iter::once(Context::usual()).chain(store.all()) {
        names += &format!("{}\n", context.name);
        let is_current = context.name == current;
        let mark = if is_current && !wanted.shown.is_asked() { " *" } else { "" };
        listing.push(
            Row::default()
                .with("Name", format!("{}{mark}", context.name))
                .with("Description", context.description.as_str())
                .with("DockerEndpoint", context.host.as_str())
                .with("Current", is_current)
                .with("TLS", if context.has_tls() { "yes" } else { "" })
                .with("Source", if context.is_dockers() { "docker" } else { "oriel" }),
        );
    }
    match wanted.quiet {
        true => print(&names),
        false => listing.show(&wanted.shown),
    }
}

fn inspect(store: &Store, wanted: &Inspect) -> anyhow::Result<()> {
    let current = vec![store.current()];
    let names = if wanted.names.is_empty() { &current } else { &wanted.names };
    let mut documents = Vec::new();
    for name in names {
        let context = store.find(name)?;
        documents.push(serde_json::to_vec(&json!({
            "Name": context.name,
            "Metadata": { "Description": context.description },
            "Endpoints": { "docker": { "Host": context.host, "SkipTLSVerify": false } },
            "Storage": { "Path": context.directory().map(|path| path.display().to_string()) },
        }))?);
    }
    show_documents(&documents, wanted.format.as_deref())
}
