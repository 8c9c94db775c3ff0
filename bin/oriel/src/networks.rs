//! `oriel network`.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use oriel_api::container::{EndpointIpam, EndpointSettings};
use oriel_api::network::{
    ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, Ipam, IpamConfig,
};
use serde_json::Value;

use crate::{
    completion,
    connection::{At, Client},
    containers::{each, text::pairs},
    format::{Column, Listing, Row, Shown, filters, human::short},
    inspect::{self, Inspect},
    labels_of,
    prune::{self, Prune},
    screen::{print, talk},
};

const FIELDS: &[Column] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

#[derive(Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network
    Create(Create),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show all about networks
    Inspect(Inspect),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Let a container join a network
    Connect(Connect),
    /// Take a container off a network
    Disconnect(Disconnect),
    /// Remove networks that no container uses
    Prune(Prune),
}

#[derive(Args)]
pub(crate) struct Create {
    /// Name
    name: String,
    /// Driver
    #[arg(short, long, value_name = "DRIVER", default_value = "nat")]
    driver: String,
    /// Addresses, such as 10.1.0.0/24; may be given more than once
    #[arg(long = "subnet", value_name = "SUBNET")]
    subnets: Vec<String>,
    /// Gateway of a subnet
    #[arg(long = "gateway", value_name = "ADDRESS")]
    gateways: Vec<String>,
    /// Part of a subnet that containers get addresses of
    #[arg(long = "ip-range", value_name = "SUBNET")]
    ranges: Vec<String>,
    /// Address that containers do not get, NAME=ADDRESS
    #[arg(long = "aux-address", value_name = "ADDRESS")]
    auxiliary: Vec<String>,
    /// Nothing leads out of it
    #[arg(long)]
    internal: bool,
    /// Give it IPv6 addresses
    #[arg(long)]
    ipv6: bool,
    /// Let containers join by hand
    #[arg(long)]
    attachable: bool,
    /// What manages addresses
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<String>,
    /// Option of that, NAME=VALUE
    #[arg(long = "ipam-opt", value_name = "OPTION")]
    ipam_options: Vec<String>,
    /// Option of the driver, NAME=VALUE
    #[arg(short, long = "opt", value_name = "OPTION")]
    options: Vec<String>,
    /// Label, NAME=VALUE
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only what fits, KEY=VALUE: name, id, driver, label, type, dangling
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// Networks
    #[arg(required = true, value_name = "NETWORK", add = completion::networks())]
    networks: Vec<String>,
    /// Do not mind networks that are not there
    #[arg(short, long)]
    force: bool,
}

#[derive(Args)]
pub(crate) struct Connect {
    /// Network
    #[arg(add = completion::networks())]
    network: String,
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Further name there; may be given more than once
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    /// Option of the driver, NAME=VALUE
    #[arg(long = "driver-opt", value_name = "OPTION")]
    options: Vec<String>,
    /// Which network leads out: the highest
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    gw_priority: Option<i64>,
    /// Other container, as this one calls it: CONTAINER[:NAME]
    #[arg(long = "link", value_name = "CONTAINER")]
    links: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Disconnect {
    /// Network
    #[arg(add = completion::networks())]
    network: String,
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Whatever the container does
    #[arg(short, long)]
    force: bool,
}

/// `oriel network`
pub(crate) async fn run(client: &Client, command: NetworkCommand) -> anyhow::Result<ExitCode> {
    match command {
        NetworkCommand::Create(wanted) => create(client, &wanted).await,
        NetworkCommand::Ls(wanted) => list(client, &wanted).await,
        NetworkCommand::Inspect(wanted) => inspect::of_kind(client, "network", &wanted).await,
        NetworkCommand::Rm(wanted) => {
            each(&wanted.networks, async |name: &str| {
                match client.delete(&At::path(&["networks", name])).await {
                    Err(error) if wanted.force && crate::connection::Refused::is(&error, 404) => {}
                    other => drop(other?),
                }
                Ok(name.to_owned())
            })
            .await
        }
        NetworkCommand::Connect(wanted) => connect(client, &wanted).await,
        NetworkCommand::Disconnect(wanted) => {
            let body = DisconnectRequest {
                container: Some(wanted.container.clone()),
                force: Some(wanted.force),
            };
            let at = At::path(&["networks", &wanted.network, "disconnect"]);
            client.post_json(&at, &body).await?;
            Ok(ExitCode::SUCCESS)
        }
        NetworkCommand::Prune(wanted) => {
            prune::run(client, &["networks"], "all networks that no container uses", &wanted).await
        }
    }
}

async fn create(client: &Client, wanted: &Create) -> anyhow::Result<ExitCode> {
    let request = CreateRequest {
        name: Some(wanted.name.clone()),
        driver: Some(wanted.driver.clone()),
        internal: Some(wanted.internal),
        attachable: Some(wanted.attachable),
        enable_ipv6: wanted.ipv6.then_some(true),
        ipam: Some(Ipam {
            driver: wanted.ipam_driver.clone(),
            options: Some(pairs(&wanted.ipam_options)).filter(|map| !map.is_empty()),
            config: Some(subnets(wanted)?),
        }),
        options: Some(pairs(&wanted.options)),
        labels: Some(pairs(&wanted.labels)),
        ..CreateRequest::default()
    };
    let at = At::path(&["networks", "create"]);
    let made: CreateResponse = client.post_json(&at, &request).await?.json().await?;
    if !made.warning.is_empty() {
        talk(&format!("warning: {}", made.warning));
    }
    print(&format!("{}\n", made.id))?;
    Ok(ExitCode::SUCCESS)
}

/// Subnets with what else was said about each, in the same order.
fn subnets(wanted: &Create) -> anyhow::Result<Vec<IpamConfig>> {
    let most = wanted.subnets.len();
    if wanted.gateways.len() > most || wanted.ranges.len() > most {
        bail!("every --gateway and --ip-range needs its --subnet");
    }
    let mut list: Vec<_> = wanted
        .subnets
        .iter()
        .enumerate()
        .map(|(at, subnet)| IpamConfig {
            subnet: Some(subnet.clone()),
            gateway: wanted.gateways.get(at).cloned(),
            ip_range: wanted.ranges.get(at).cloned(),
            auxiliary_addresses: None,
        })
        .collect();
    let auxiliary = pairs(&wanted.auxiliary);
    match list.first_mut() {
        Some(first) if !auxiliary.is_empty() => first.auxiliary_addresses = Some(auxiliary),
        None if !auxiliary.is_empty() => bail!("--aux-address needs a --subnet"),
        _ => {}
    }
    Ok(list)
}

async fn list(client: &Client, wanted: &List) -> anyhow::Result<ExitCode> {
    let at = At::path(&["networks"]).maybe("filters", filters(&wanted.filters)?);
    let list: Vec<Value> = client.get(&at).await?;
    let mut listing = Listing::new(FIELDS, &["ID", "Name", "Driver", "Scope"]);
    let mut ids = String::new();
    for network in &list {
        let text = |name: &str| network[name].as_str().unwrap_or_default().to_owned();
        let id = if wanted.no_trunc { text("Id") } else { short(&text("Id")) };
        ids += &format!("{id}\n");
        listing.push(
            Row::default()
                .with("ID", id)
                .with("Name", text("Name"))
                .with("Driver", text("Driver"))
                .with("Scope", text("Scope"))
                .with("IPv4", (network["EnableIPv4"] != false).to_string())
                .with("IPv6", (network["EnableIPv6"] == true).to_string())
                .with("Internal", (network["Internal"] == true).to_string())
                .with("CreatedAt", text("Created"))
                .labels(&labels_of(&network["Labels"])),
        );
    }
    match wanted.quiet {
        true => print(&ids)?,
        false => listing.show(&wanted.shown)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(client: &Client, wanted: &Connect) -> anyhow::Result<ExitCode> {
    let own = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let ipam = EndpointIpam {
        ipv4_address: wanted.ip.clone(),
        ipv6_address: wanted.ip6.clone(),
        link_local_ips: None,
    };
    let settings = EndpointSettings {
        ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
        links: own(&wanted.links),
        aliases: own(&wanted.aliases),
        mac_address: None,
        driver_opts: own(&wanted.options).map(|list| pairs(&list)),
        gw_priority: wanted.gw_priority,
    };
    let body = ConnectRequest {
        container: Some(wanted.container.clone()),
        endpoint_config: Some(settings),
    };
    let at = At::path(&["networks", &wanted.network, "connect"]);
    client.post_json(&at, &body).await?;
    Ok(ExitCode::SUCCESS)
}
