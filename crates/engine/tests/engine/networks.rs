//! Networks of clients, on a driver in memory that is stricter than the real one.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::net::Ipv4Addr;

use crate::bench::{Bench, request};
use oriel_engine::{CreateRequest, EngineError, Membership, NetworkRequest, SubnetRequest};
use oriel_hcs::{Class, PortMapping, Protocol};

fn named(name: &str) -> NetworkRequest {
    NetworkRequest { name: name.to_owned(), ..NetworkRequest::default() }
}

fn with_subnet(name: &str, subnet: &str) -> NetworkRequest {
    let subnet = SubnetRequest { subnet: subnet.to_owned(), ..SubnetRequest::default() };
    NetworkRequest { subnets: vec![subnet], ..named(name) }
}

fn make(bench: &Bench, request: NetworkRequest) -> Result<String, EngineError> {
    bench.on(bench.engine.create_network(request))
}

fn subnet(bench: &Bench, network: &str) -> String {
    bench.engine.network(network).unwrap().spec.clone().unwrap().subnet.to_string()
}

/// A container that waits, on these networks.
fn on(networks: &[&str]) -> CreateRequest {
    let mut request = request("wait");
    request.host.network = networks[0].to_owned();
    request.host.networks = networks.iter().map(|network| Membership::to(network)).collect();
    request
}

fn started(bench: &Bench, request: CreateRequest) -> String {
    let id = bench.on(bench.engine.create(request)).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    id
}

fn adapters(bench: &Bench, id: &str) -> Vec<(u8, String)> {
    let view = bench.engine.container(id).unwrap();
    let adapter = |end: &(oriel_hcs::EndpointSpec, _)| (end.0.adapter, end.0.network.clone());
    view.endpoints().map(adapter).collect()
}

fn events(bench: &Bench) -> Vec<String> {
    let (kept, _) = bench.engine.events();
    let networks = kept.iter().filter(|event| event.kind == "network");
    networks.map(|event| format!("{} {}", event.action, event.attributes["name"])).collect()
}

#[test]
fn subnets_are_the_next_free_ones() {
    let bench = Bench::new();
    bench.world.network.add_route("172.17.0.0/16".parse().unwrap());
    make(&bench, named("a")).unwrap();
    make(&bench, with_subnet("b", "172.19.0.0/24")).unwrap();
    make(&bench, named("c")).unwrap();
    assert_eq!(subnet(&bench, "a"), "172.18.0.0/16");
    assert_eq!(subnet(&bench, "c"), "172.20.0.0/16");
}

#[test]
fn what_is_taken_is_refused_in_dockers_words() {
    let bench = Bench::new();
    make(&bench, with_subnet("a", "10.7.0.0/16")).unwrap();
    let error = make(&bench, named("a")).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert_eq!(error.to_string(), "network with name a already exists");
    let error = make(&bench, with_subnet("b", "10.7.9.0/24")).unwrap_err();
    assert_eq!(error.class(), Class::Denied);
    assert!(error.to_string().contains("Pool overlaps with other one on this address space"));
    assert_eq!(bench.world.network.networks(), ["a", "nat"]);
}

#[test]
fn networks_are_found_by_name_id_and_beginning() {
    let bench = Bench::new();
    let id = make(&bench, named("back")).unwrap();
    for reference in ["back", id.as_str(), &id[..9]] {
        assert_eq!(bench.engine.network(reference).unwrap().id, id);
    }
    for reference in ["", "bac", "nowhere"] {
        let error = bench.engine.network(reference).unwrap_err();
        assert_eq!(error.to_string(), format!("network {reference} not found"));
    }
    let error = bench.engine.network("0").unwrap_err();
    assert_eq!(error.class(), Class::Invalid, "{error}");
}

#[test]
fn a_network_in_use_stays() {
    let bench = Bench::new();
    let id = make(&bench, named("back")).unwrap();
    let container = started(&bench, on(&["back"]));
    let error = bench.on(bench.engine.remove_network("back")).unwrap_err();
    assert_eq!(error.class(), Class::Denied);
    let words = format!("error while removing network: network back id {id} has active endpoints");
    assert!(error.to_string().starts_with(&words), "{error}");
    bench.on(bench.engine.kill(&container, "")).unwrap();
    bench.ended(&container);
    bench.on(bench.engine.remove_network("back")).unwrap();
    assert_eq!(bench.world.network.networks(), ["nat"]);
    let error = bench.on(bench.engine.start(&container)).unwrap_err();
    assert_eq!(error.to_string(), "network back not found");
    bench.nothing_runs();
    let expected = ["create back", "connect back", "disconnect back", "destroy back"];
    assert_eq!(events(&bench), expected);
}

#[test]
fn predefined_networks_cannot_be_removed() {
    let bench = Bench::new();
    for name in ["nat", "none"] {
        let error = bench.on(bench.engine.remove_network(name)).unwrap_err();
        assert_eq!(error.class(), Class::Denied);
        let text = format!("{name} is a pre-defined network and cannot be removed");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn pruning_takes_what_nobody_uses() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        make(&bench, named(name)).unwrap();
    }
    started(&bench, on(&["b"]));
    let removed = bench.on(bench.engine.prune_networks(|network| network.name != "c"));
    assert_eq!(removed, ["a"]);
    assert_eq!(bench.world.network.networks(), ["b", "c", "nat"]);
}

#[test]
fn a_container_joins_several_networks_and_publishes_once() {
    let bench = Bench::new();
    make(&bench, NetworkRequest { internal: true, ..named("closed") }).unwrap();
    let back = make(&bench, named("back")).unwrap();
    let mut request = on(&["closed", &back[..8], "nat"]);
    request.host.ports = vec![PortMapping {
        protocol: Protocol::Tcp,
        host_ip: Ipv4Addr::UNSPECIFIED.into(),
        host_port: 8080,
        container_port: 80,
    }];
    let id = started(&bench, request);
    let expected = [(0, "closed"), (1, "back"), (2, "nat")];
    assert_eq!(adapters(&bench, &id), expected.map(|(number, name)| (number, name.to_owned())));
    let published = |bench: &Bench| {
        let view = bench.engine.container(&id).unwrap();
        let some = |end: &&(oriel_hcs::EndpointSpec, oriel_hcs::Endpoint)| !end.1.ports.is_empty();
        view.endpoints().filter(some).map(|(spec, _)| spec.network.clone()).collect::<Vec<_>>()
    };
    assert_eq!(published(&bench), ["back"]);
    bench.on(bench.engine.disconnect("back", &id, false)).unwrap();
    assert_eq!(published(&bench), ["nat"], "ports move");
    bench.on(bench.engine.remove(&id, true)).unwrap();
    bench.nothing_runs();
}

#[test]
fn connecting_and_disconnecting_works_running_and_stopped() {
    let bench = Bench::new();
    make(&bench, with_subnet("back", "10.7.0.0/24")).unwrap();
    let id = started(&bench, on(&["nat"]));
    let address = Some(Ipv4Addr::new(10, 7, 0, 9));
    let aliases = vec!["db".to_owned()];
    let joins = Membership { address, aliases, ..Membership::default() };
    bench.on(bench.engine.connect("back", &id, joins.clone())).unwrap();
    let view = bench.engine.container(&id).unwrap();
    let (spec, endpoint) = view.endpoint_on("back").unwrap();
    assert_eq!((spec.adapter, Some(endpoint.address)), (1, address));
    assert_eq!(spec.names[2], "db");
    let error = bench.on(bench.engine.connect("back", &id, joins.clone())).unwrap_err();
    assert_eq!(error.class(), Class::Denied);
    assert!(error.to_string().contains("already exists in network back"), "{error}");
    bench.on(bench.engine.rename(&id, "renamed")).unwrap();
    let names = bench.world.network.endpoints().into_iter().map(|spec| spec.names[0].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["renamed", "renamed"]);
    bench.on(bench.engine.disconnect("nat", &id, false)).unwrap();
    let error = bench.on(bench.engine.disconnect("nat", &id, false)).unwrap_err();
    assert!(error.to_string().ends_with("is not connected to the network nat"), "{error}");
    bench.on(bench.engine.kill(&id, "")).unwrap();
    bench.ended(&id);
    bench.on(bench.engine.connect("nat", &id, Membership::default())).unwrap();
    bench.on(bench.engine.start(&id)).unwrap();
    let expected = [(0, "back".to_owned()), (1, "nat".to_owned())];
    assert_eq!(adapters(&bench, &id), expected);
    let joins = Membership { address: Some(Ipv4Addr::LOCALHOST), ..Membership::default() };
    let error = bench.on(bench.engine.connect("back", &id, joins)).unwrap_err();
    assert!(error.to_string().contains("no configured subnet contains IP address"), "{error}");
}

#[test]
fn an_address_that_is_taken_fails_the_start_and_leaves_nothing() {
    let bench = Bench::new();
    make(&bench, with_subnet("back", "10.7.0.0/24")).unwrap();
    let wanting = || {
        let mut request = on(&["nat", "back"]);
        request.host.networks[1].address = Some(Ipv4Addr::new(10, 7, 0, 9));
        request
    };
    started(&bench, wanting());
    let late = bench.on(bench.engine.create(wanting())).unwrap();
    let error = bench.on(bench.engine.start(&late)).unwrap_err();
    assert_eq!(
        (error.class(), error.to_string().as_str()),
        (Class::Denied, "Address already in use")
    );
    assert_eq!(bench.world.network.compartments().len(), 1);
    assert_eq!(bench.world.network.endpoints().len(), 2);
}

#[test]
fn none_is_for_those_who_want_no_other() {
    let bench = Bench::new();
    let error = bench.on(bench.engine.create(on(&["none", "nat"]))).unwrap_err();
    assert!(error.to_string().contains("private (none) mode"), "{error}");
    let id = started(&bench, on(&["none"]));
    assert!(bench.world.network.compartments().is_empty());
    let error = bench.on(bench.engine.connect("nat", &id, Membership::default())).unwrap_err();
    assert!(error.to_string().contains("private (none) mode"), "{error}");
}

#[test]
fn a_container_shares_the_compartment_of_one_that_runs() {
    let bench = Bench::new();
    let mut lender = on(&["nat"]);
    lender.name = Some("lender".to_owned());
    let lender = bench.on(bench.engine.create(lender)).unwrap();
    let mut borrower = request("wait");
    borrower.host.network = "container:lender".to_owned();
    let borrower = bench.on(bench.engine.create(borrower)).unwrap();
    let error = bench.on(bench.engine.start(&borrower)).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().ends_with("container lender is created"), "{error}");
    bench.on(bench.engine.start(&lender)).unwrap();
    bench.on(bench.engine.start(&borrower)).unwrap();
    assert_eq!(bench.world.network.compartments(), [lender]);
    let error = bench.on(bench.engine.connect("nat", &borrower, Membership::default()));
    assert!(error.unwrap_err().to_string().contains("sharing network namespace"));
    bench.on(bench.engine.remove(&borrower, true)).unwrap();
    assert_eq!(bench.world.network.compartments().len(), 1, "the lender keeps it");
}

#[test]
fn everything_is_there_again_after_the_daemon_died() {
    let bench = Bench::new();
    let id = make(&bench, with_subnet("back", "10.7.0.0/24")).unwrap();
    make(&bench, named("gone")).unwrap();
    bench.on(bench.engine.remove_network("gone")).unwrap();
    let before = bench.engine.network("back").unwrap();
    let container = started(&bench, on(&["nat", "back"]));
    let bench = bench.reborn(|_, _| {});
    assert_eq!(bench.engine.network(&id).unwrap(), before);
    assert!(bench.engine.network("gone").is_err());
    assert_eq!(adapters(&bench, &container).len(), 2);
    bench.on(bench.engine.disconnect("nat", &container, false)).unwrap();
    bench.on(bench.engine.remove(&container, true)).unwrap();
    let bench = bench.reborn(|world, _| world.network.forget_networks());
    assert_eq!(bench.world.network.networks(), ["back", "nat"], "the host was started again");
    bench.nothing_runs();
}
