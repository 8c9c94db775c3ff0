//! Networks: bridges, compartments and their endpoints, published ports, names.
//!
//! On Windows a NAT switch of the Host Network Service joins containers; here a Linux bridge does.
//! [`HostNetwork`] implements [`oriel_hcs::NetworkDriver`] with what the kernel offers, so that
//! all of it but the answering of names lives on when the process dies:
//!
//! ```text
//!   other hosts            host                     network namespace of a container
//!        │        ┌─────────────────────────┐      ┌───────────────────────┐
//!        └──eth0──┤ nft table oriel-INSTANCE├─br0──┤eth0 172.x.y.z/p, lo    │
//!                 │ dnat, masquerade, drops │ │veth│default via gateway     │
//!                 └─────────────────────────┘ │    └───────────────────────┘
//!                   gateway address ──────────┘
//!                   names on port 53 (task of this process)
//!                   [::]:published (forwarder, task of this process)
//! ```
//!
//! Pure parts: `addresses` (who gets which), `naming` (names of links, files and tables), `state`
//! (what is known, and whether a wish fits it), `rules` (the whole rule set of an instance),
//! `dns::zone` (answers). Kernel parts: `links` (rtnetlink), `namespace` (threads that change
//! their network namespace), `firewall` (`nft`), `ports` (sockets that hold published ports),
//! `dns`. [`HostNetwork`] puts them together: `host` its networks, `endpoints` what is on them.

mod addresses;
mod check;
mod dns;
mod endpoints;
mod failure;
mod firewall;
mod host;
mod links;
mod namespace;
mod naming;
mod ports;
mod rules;
mod state;
mod task;

pub use check::check;
pub use host::{HostNetwork, HostNetworkOptions};
