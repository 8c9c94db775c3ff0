//! Networks in a real kernel, each test in a network and mount namespace of its own.
//!
//! Such a test starts this very program again through `unshare`, with its own name as filter; the
//! second one runs the body. Nothing of the host's network is touched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; clippy sees only its body so")]

use std::{
    future::Future,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType, rdata::A},
};
use nix::sched::{CloneFlags, setns};
use oriel_hcs::{
    CheckLevel, Compartment, CompartmentSpec, Endpoint, EndpointSpec, NetworkDriver, NetworkError,
    NetworkSpec, PortMapping, Protocol,
};
use oriel_hns::{HostNetwork, HostNetworkOptions};

const INSIDE: &str = "ORIEL_HNS_TEST_INSIDE";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 1, 1);
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 53, 53);
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the body in namespaces of its own.
fn isolated(name: &str, body: impl AsyncFnOnce(HostNetwork)) {
    if std::env::var_os(INSIDE).is_some() {
        return run_inside(body);
    }
    if !nix::unistd::geteuid().is_root() {
        // Past the harness, which swallows what passing tests print.
        let mut terminal = std::io::stderr();
        writeln!(terminal, "skipped: {name} needs root").unwrap();
        return;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed inside");
}

fn run_inside(body: impl AsyncFnOnce(HostNetwork)) {
    shell("ip link set lo up && mount -t tmpfs tmpfs /mnt && echo nameserver 127.0.0.1 >/mnt/conf");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = driver();
        driver.create_network(&network()).await.unwrap();
        body(driver).await;
    });
}

fn driver() -> HostNetwork {
    let mut options = HostNetworkOptions::new("test", "/mnt/netns");
    options.resolv_conf = "/mnt/conf".into();
    HostNetwork::new(options).unwrap()
}

fn network() -> NetworkSpec {
    NetworkSpec {
        name: "nat".to_owned(),
        bridge: "oriel0".to_owned(),
        subnet: "172.30.1.0/24".parse().unwrap(),
        gateway: GATEWAY,
        range: None,
        reserved: Vec::new(),
        internal: false,
    }
}

/// A second network, 172.30.2.0/24.
fn back(internal: bool) -> NetworkSpec {
    NetworkSpec {
        name: "back".to_owned(),
        bridge: "br-back".to_owned(),
        subnet: "172.30.2.0/24".parse().unwrap(),
        gateway: [172, 30, 2, 1].into(),
        internal,
        ..network()
    }
}

fn endpoint(id: &str, ports: &[PortMapping]) -> EndpointSpec {
    EndpointSpec {
        id: format!("{id}-0123456789"),
        compartment: id.to_owned(),
        adapter: 0,
        network: "nat".to_owned(),
        names: vec![id.to_owned()],
        ports: ports.to_vec(),
        address: None,
        mac: None,
        priority: 0,
    }
}

/// The same on the second network, as the second adapter.
fn second(id: &str) -> EndpointSpec {
    EndpointSpec {
        id: format!("{id}-back"),
        network: "back".to_owned(),
        adapter: 1,
        ..endpoint(id, &[])
    }
}

/// An endpoint that exists, and where.
#[derive(Clone, Debug)]
struct Joined {
    namespace: PathBuf,
    address: Ipv4Addr,
    mac: String,
    ports: Vec<PortMapping>,
    compartment: Compartment,
}

/// Makes a compartment with one endpoint.
async fn join(driver: &HostNetwork, spec: &EndpointSpec) -> Result<Joined, NetworkError> {
    let wanted = CompartmentSpec { id: spec.compartment.clone(), dns: Vec::new() };
    let mut compartment = driver.create_compartment(&wanted).await?;
    let Endpoint { address, mac, ports, .. } = match driver.create_endpoint(spec).await {
        Ok(endpoint) => {
            compartment.endpoints.push((spec.clone(), endpoint.clone()));
            endpoint
        }
        Err(error) => {
            driver.remove_compartment(&spec.compartment).await?;
            return Err(error);
        }
    };
    Ok(Joined { namespace: compartment.namespace.clone(), address, mac, ports, compartment })
}

fn port(protocol: Protocol, host_ip: &str, host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { protocol, host_ip: host_ip.parse().unwrap(), host_port, container_port }
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs blocking work inside a network namespace.
async fn within<T: Send + 'static>(
    namespace: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let namespace = OwnedFd::from(std::fs::OpenOptions::new().read(true).open(namespace).unwrap());
    let thread = thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    });
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap()
}

/// A server inside that greets with the address of its client.
async fn serve_tcp(endpoint: &Joined, port: u16) {
    let listener = within(&endpoint.namespace, move || TcpListener::bind(("0.0.0.0", port)));
    let listener = listener.await.unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            stream.write_all(format!("hello {}", peer.ip()).as_bytes()).unwrap();
        }
    });
}

/// A server inside that sends back what comes.
async fn serve_udp(endpoint: &Joined, port: u16) {
    let socket = within(&endpoint.namespace, move || UdpSocket::bind(("0.0.0.0", port)));
    let socket = socket.await.unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], peer).unwrap();
        }
    });
}

fn greet(address: impl Into<SocketAddr>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting)?;
    Ok(greeting)
}

/// Whether nothing answers there.
fn refused(address: impl Into<SocketAddr>) -> bool {
    TcpStream::connect_timeout(&address.into(), Duration::from_millis(300)).is_err()
}

fn echo(address: impl Into<SocketAddr>) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"ping", address.into())?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn question(name: &str) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message
}

/// Asks the network's name server, from the namespace of the calling thread.
fn ask_udp(name: &str) -> Message {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&question(name).to_vec().unwrap(), (NAME_SERVER, 53)).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

fn ask_tcp(name: &str) -> Message {
    let mut stream = TcpStream::connect((NAME_SERVER, 53)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = question(name).to_vec().unwrap();
    stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

fn address_in(message: &Message) -> Option<Ipv4Addr> {
    message.answers.iter().find_map(|record| match &record.data {
        RData::A(A(address)) => Some(*address),
        _ => None,
    })
}

/// A host beside this one: namespace `lan`, here 192.0.2.1, there 192.0.2.2.
fn add_neighbour() -> &'static Path {
    shell(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip netns add lan
         ip link add lan0 type veth peer name eth0 netns lan
         ip address add 192.0.2.1/24 dev lan0 && ip link set lan0 up
         ip -n lan address add 192.0.2.2/24 dev eth0 && ip -n lan link set eth0 up
         ip -n lan route add default via 192.0.2.1",
    );
    Path::new("/run/netns/lan")
}

/// What the driver has in the kernel: links, tables, namespaces.
fn remains() -> String {
    shell(
        "ip -o link | cut -d' ' -f2 | sort; nft list tables; ls /mnt/netns; mount | grep nsfs || :",
    )
}

async fn inside<T, F: Future<Output = T>>(work: F) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.unwrap()
}

#[test]
fn two_endpoints_reach_each_other_by_name() {
    isolated("two_endpoints_reach_each_other_by_name", async |driver| {
        let web = join(&driver, &endpoint("web", &[])).await.unwrap();
        let client = join(&driver, &endpoint("client", &[])).await.unwrap();
        assert_eq!(web.address, Ipv4Addr::new(172, 30, 1, 2));
        assert_eq!(web.mac, "02:42:ac:1e:01:02");
        assert_eq!(client.compartment.name_server, NAME_SERVER);
        serve_tcp(&web, 80).await;
        let greeting = within(&client.namespace, || {
            let address = address_in(&ask_udp("WEB.")).unwrap();
            assert_eq!(address_in(&ask_tcp("web.nat.")), Some(address));
            greet((address, 80)).unwrap()
        });
        assert_eq!(inside(greeting).await, "hello 172.30.1.3");
        assert_eq!(greet((web.address, 80)).unwrap(), "hello 172.30.1.1");
    });
}

#[test]
fn namespaces_are_set_up_for_programs() {
    isolated("namespaces_are_set_up_for_programs", async |driver| {
        let web = join(&driver, &endpoint("web", &[])).await.unwrap();
        let enter = format!("nsenter --net={} ", web.namespace.display());
        let addresses = shell(&format!("{enter} ip -br address; {enter} ip route"));
        assert!(addresses.contains("172.30.1.2/24"), "{addresses}");
        assert!(addresses.contains("default via 172.30.1.1 dev eth0"), "{addresses}");
        assert!(addresses.contains("::1/128") && !addresses.contains("fe80"), "{addresses}");
        let range = shell(&format!("{enter} cat /proc/sys/net/ipv4/ping_group_range"));
        assert_eq!(range.split_whitespace().collect::<Vec<_>>(), ["0", "2147483647"]);
        let link = shell(&format!("{enter} ip link show eth0"));
        assert!(link.contains(&web.mac), "{link}");
    });
}

#[test]
fn published_tcp_is_reached_from_everywhere() {
    isolated("published_tcp_is_reached_from_everywhere", async |driver| {
        let lan = add_neighbour();
        let ports = [port(Protocol::Tcp, "0.0.0.0", 8080, 80)];
        let web = join(&driver, &endpoint("web", &ports)).await.unwrap();
        let other = join(&driver, &endpoint("other", &[])).await.unwrap();
        serve_tcp(&web, 80).await;
        serve_tcp(&web, 81).await;
        assert_eq!(greet(([127, 0, 0, 1], 8080)).unwrap(), "hello 172.30.1.1");
        assert_eq!(greet(([192, 0, 2, 1], 8080)).unwrap(), "hello 192.0.2.1");
        let v6 = "[::1]:8080".parse::<SocketAddr>().unwrap();
        let v6 = tokio::task::spawn_blocking(move || greet(v6)).await.unwrap();
        assert_eq!(v6.unwrap(), "hello 172.30.1.1");
        let outside = within(lan, || greet(([192, 0, 2, 1], 8080)).unwrap()).await;
        assert_eq!(outside, "hello 192.0.2.2", "the client's address is kept");
        for from in [&other, &web] {
            let hairpin = within(&from.namespace, || greet(([192, 0, 2, 1], 8080)).unwrap());
            assert_eq!(hairpin.await, "hello 172.30.1.1");
        }
        let direct = within(lan, || {
            let unpublished = SocketAddr::from(([172, 30, 1, 2], 81));
            TcpStream::connect_timeout(&unpublished, Duration::from_millis(300)).is_err()
        });
        assert!(direct.await, "ports that are not published stay closed to other hosts");
    });
}

#[test]
fn published_udp_is_reached_from_everywhere() {
    isolated("published_udp_is_reached_from_everywhere", async |driver| {
        let lan = add_neighbour();
        let ports = [port(Protocol::Udp, "0.0.0.0", 5000, 5001)];
        let web = join(&driver, &endpoint("web", &ports)).await.unwrap();
        serve_udp(&web, 5001).await;
        assert_eq!(echo(([127, 0, 0, 1], 5000)).unwrap(), "ping");
        assert_eq!(within(lan, || echo(([192, 0, 2, 1], 5000)).unwrap()).await, "ping");
        let hairpin = within(&web.namespace, || echo(([192, 0, 2, 1], 5000)).unwrap());
        assert_eq!(hairpin.await, "ping");
    });
}

#[test]
fn outside_is_reached_with_the_hosts_address() {
    isolated("outside_is_reached_with_the_hosts_address", async |driver| {
        let lan = add_neighbour();
        let web = join(&driver, &endpoint("web", &[])).await.unwrap();
        let neighbour = Joined { namespace: lan.to_owned(), ..web.clone() };
        serve_tcp(&neighbour, 80).await;
        let greeting = within(&web.namespace, || greet(([192, 0, 2, 2], 80)).unwrap()).await;
        assert_eq!(greeting, "hello 192.0.2.1");
    });
}

#[test]
fn a_port_of_one_address_is_closed_on_the_others() {
    isolated("a_port_of_one_address_is_closed_on_the_others", async |driver| {
        let lan = add_neighbour();
        let ports = [port(Protocol::Tcp, "127.0.0.1", 8080, 80)];
        let web = join(&driver, &endpoint("web", &ports)).await.unwrap();
        serve_tcp(&web, 80).await;
        assert_eq!(greet(([127, 0, 0, 1], 8080)).unwrap(), "hello 172.30.1.1");
        assert!(within(lan, || greet(([192, 0, 2, 1], 8080)).is_err()).await);
    });
}

#[test]
fn taken_ports_are_refused_and_leave_nothing() {
    isolated("taken_ports_are_refused_and_leave_nothing", async |driver| {
        let before = remains();
        let _process = TcpListener::bind("127.0.0.1:8081").unwrap();
        let bound = endpoint("a", &[port(Protocol::Tcp, "0.0.0.0", 8081, 80)]);
        let error = join(&driver, &bound).await.unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { port: 8081, .. }), "{error}");
        assert_eq!(remains(), before);
        let first = endpoint("b", &[port(Protocol::Udp, "0.0.0.0", 8082, 80)]);
        join(&driver, &first).await.unwrap();
        let second = endpoint("c", &[port(Protocol::Udp, "127.0.0.1", 8082, 80)]);
        let error = join(&driver, &second).await.unwrap_err();
        assert_eq!(error.to_string(), "Bind for 127.0.0.1:8082 failed: port is already allocated");
        driver.remove_compartment(&first.compartment).await.unwrap();
        join(&driver, &second).await.unwrap();
    });
}

#[test]
fn port_zero_becomes_a_port_that_works() {
    isolated("port_zero_becomes_a_port_that_works", async |driver| {
        let ports = [port(Protocol::Tcp, "0.0.0.0", 0, 80)];
        let web = join(&driver, &endpoint("web", &ports)).await.unwrap();
        serve_tcp(&web, 80).await;
        let chosen = web.ports[0].host_port;
        assert!(chosen >= 49_153);
        assert_eq!(greet(([127, 0, 0, 1], chosen)).unwrap(), "hello 172.30.1.1");
    });
}

#[test]
fn removal_leaves_nothing() {
    isolated("removal_leaves_nothing", async |driver| {
        driver.remove_network("nat").await.unwrap();
        let before = remains();
        driver.create_network(&network()).await.unwrap();
        driver.create_network(&network()).await.unwrap();
        let web = endpoint("web", &[port(Protocol::Tcp, "0.0.0.0", 8080, 80)]);
        join(&driver, &web).await.unwrap();
        assert!(shell("nft list ruleset").contains("172.30.1.2:80"));
        assert!(driver.remove_network("nat").await.is_err(), "it has endpoints");
        driver.remove_compartment(&web.compartment).await.unwrap();
        driver.remove_compartment(&web.compartment).await.unwrap();
        assert!(!shell("nft list ruleset").contains("172.30.1.2"));
        TcpListener::bind("[::]:8080").unwrap();
        driver.remove_network("nat").await.unwrap();
        driver.remove_network("nat").await.unwrap();
        assert_eq!(remains(), before);
    });
}

#[test]
fn an_idle_driver_ends_without_a_trace() {
    isolated("an_idle_driver_ends_without_a_trace", async |driver| {
        let web = endpoint("web", &[port(Protocol::Tcp, "0.0.0.0", 8080, 80)]);
        join(&driver, &web).await.unwrap();
        driver.remove_compartment(&web.compartment).await.unwrap();
        driver.shutdown().await;
        assert!(!shell("ip -o link").contains("oriel0"));
        assert_eq!(shell("nft list ruleset"), "");
        assert!(!shell("cat /proc/self/mountinfo").contains("/mnt/netns"));
    });
}

#[test]
fn a_second_process_takes_up_what_lives_and_removes_the_rest() {
    isolated("a_second_process_takes_up_what_lives_and_removes_the_rest", async |first| {
        let web = endpoint("web", &[port(Protocol::Tcp, "0.0.0.0", 8080, 80)]);
        let gone = endpoint("gone", &[port(Protocol::Tcp, "0.0.0.0", 8081, 80)]);
        let made = join(&first, &web).await.unwrap();
        join(&first, &gone).await.unwrap();
        serve_tcp(&made, 80).await;
        first.create_network(&back(false)).await.unwrap();
        shell("ip link add orffff000000000 type bridge");
        first.shutdown().await;
        drop(first);
        let second = driver();
        second.create_network(&network()).await.unwrap();
        assert_eq!(greet(([127, 0, 0, 1], 8080)).unwrap(), "hello 172.30.1.1", "all the time");
        second.reconcile(std::slice::from_ref(&made.compartment)).await.unwrap();
        assert_eq!(greet(([127, 0, 0, 1], 8080)).unwrap(), "hello 172.30.1.1");
        let remains = remains();
        assert!(remains.contains("/mnt/netns/web") && !remains.contains("gone"), "{remains}");
        assert!(remains.contains("orffff000000000"), "another instance's link: {remains}");
        assert!(!remains.contains("br-back"), "a network nobody made again: {remains}");
        assert!(!shell("nft list ruleset").contains("8081"));
        let error = join(&second, &web).await.unwrap_err();
        assert!(error.to_string().contains("it exists"), "{error}");
        let next = join(&second, &gone).await.unwrap();
        assert_eq!(next.address, Ipv4Addr::new(172, 30, 1, 3));
        let found = within(&next.namespace, || address_in(&ask_udp("web."))).await;
        assert_eq!(found, Some(made.address));
    });
}

#[test]
fn networks_are_kept_apart_but_for_published_ports() {
    isolated("networks_are_kept_apart_but_for_published_ports", async |driver| {
        let lan = add_neighbour();
        driver.create_network(&back(false)).await.unwrap();
        let ports = [port(Protocol::Tcp, "0.0.0.0", 8080, 80)];
        let web = join(&driver, &endpoint("web", &ports)).await.unwrap();
        let other = join(&driver, &EndpointSpec { adapter: 0, ..second("other") }).await.unwrap();
        serve_tcp(&web, 80).await;
        let outcome = within(&other.namespace, move || {
            assert!(refused((web.address, 80)), "a neighbour of another network");
            assert_eq!(ask_udp("web.").answers.len(), 0);
            greet(([192, 0, 2, 1], 8080)).unwrap()
        });
        assert_eq!(outcome.await, "hello 172.30.1.1");
        let neighbour = Joined { namespace: lan.to_owned(), ..other.clone() };
        serve_tcp(&neighbour, 80).await;
        assert!(within(&other.namespace, || greet(([192, 0, 2, 2], 80)).is_ok()).await);
    });
}

#[test]
fn an_internal_network_has_no_way_out_nor_in() {
    isolated("an_internal_network_has_no_way_out_nor_in", async |driver| {
        let lan = add_neighbour();
        driver.create_network(&back(true)).await.unwrap();
        let ports = [port(Protocol::Tcp, "0.0.0.0", 8080, 80)];
        let web = join(&driver, &endpoint("web", &ports)).await.unwrap();
        serve_tcp(&web, 80).await;
        let inner = EndpointSpec { adapter: 0, ..second("inner") };
        let inner = join(&driver, &inner).await.unwrap();
        let peer = EndpointSpec { adapter: 0, ..second("peer") };
        let peer = join(&driver, &peer).await.unwrap();
        serve_tcp(&peer, 80).await;
        let neighbour = Joined { namespace: lan.to_owned(), ..web.clone() };
        serve_tcp(&neighbour, 80).await;
        // Even with a route that programs inside cannot make.
        let enter = format!("nsenter --net={}", inner.namespace.display());
        assert!(!shell(&format!("{enter} ip route")).contains("default"));
        shell(&format!("{enter} ip route add default via 172.30.2.1"));
        within(&inner.namespace, || {
            let found = address_in(&ask_udp("peer.")).unwrap();
            assert!(greet((found, 80)).is_ok(), "neighbours");
            assert!(refused(([192, 0, 2, 2], 80)), "another host");
            assert!(refused(([192, 0, 2, 1], 8080)), "a published port");
            let reply = ask_udp("nowhere.example.");
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        })
        .await;
        within(lan, move || assert!(refused((peer.address, 80)))).await;
    });
}

#[test]
fn a_compartment_joins_and_leaves_networks_while_it_lives() {
    isolated("a_compartment_joins_and_leaves_networks_while_it_lives", async |driver| {
        let lan = add_neighbour();
        driver.create_network(&back(false)).await.unwrap();
        let web = join(&driver, &endpoint("web", &[])).await.unwrap();
        let db = EndpointSpec { adapter: 0, ..second("db") };
        let db = join(&driver, &db).await.unwrap();
        serve_tcp(&db, 80).await;
        let neighbour = Joined { namespace: lan.to_owned(), ..web.clone() };
        serve_tcp(&neighbour, 81).await;
        let find = || within(&web.namespace, || address_in(&ask_udp("db.")));
        assert_eq!(find().await, None);
        driver.create_endpoint(&second("web")).await.unwrap();
        assert_eq!(find().await, Some(db.address));
        let names = ["database".to_owned()];
        driver.rename("db-back", &names).await.unwrap();
        assert_eq!(find().await, None);
        driver.remove_endpoint(&endpoint("web", &[]).id).await.unwrap();
        within(&web.namespace, move || {
            let found = address_in(&ask_udp("database.")).unwrap();
            assert_eq!(greet((found, 80)).unwrap(), "hello 172.30.2.3");
            assert!(greet(([192, 0, 2, 2], 81)).is_ok(), "the way out leads elsewhere now");
            assert!(ask_tcp("web.").answers.len() == 1, "its own name");
        })
        .await;
        driver.remove_endpoint("web-back").await.unwrap();
        driver.remove_endpoint("web-back").await.unwrap();
        let links = format!("nsenter --net={} ip -o link", web.namespace.display());
        assert_eq!(shell(&links).lines().count(), 1);
    });
}

#[test]
fn ports_move_to_another_endpoint() {
    isolated("ports_move_to_another_endpoint", async |driver| {
        driver.create_network(&back(false)).await.unwrap();
        let first = endpoint("web", &[port(Protocol::Tcp, "0.0.0.0", 8080, 80)]);
        let web = join(&driver, &first).await.unwrap();
        serve_tcp(&web, 80).await;
        driver.create_endpoint(&second("web")).await.unwrap();
        let error = driver.publish("web-back", &web.ports).await.unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { port: 8080, .. }), "{error}");
        driver.remove_endpoint(&first.id).await.unwrap();
        assert_eq!(driver.publish("web-back", &web.ports).await.unwrap(), web.ports);
        assert_eq!(greet(([127, 0, 0, 1], 8080)).unwrap(), "hello 172.30.2.1");
    });
}

#[test]
fn addresses_asked_for_are_had() {
    isolated("addresses_asked_for_are_had", async |driver| {
        let address = Some(Ipv4Addr::new(172, 30, 1, 77));
        let mac = Some([2, 0, 0, 1, 2, 3]);
        let web = EndpointSpec { address, mac, ..endpoint("web", &[]) };
        let web = join(&driver, &web).await.unwrap();
        let link = shell(&format!("nsenter --net={} ip address", web.namespace.display()));
        assert!(link.contains("172.30.1.77/24") && link.contains("02:00:00:01:02:03"), "{link}");
        let twin = EndpointSpec { address, ..endpoint("twin", &[]) };
        let before = remains();
        let Err(error) = join(&driver, &twin).await else { panic!("the address is taken") };
        assert!(matches!(error, NetworkError::AddressTaken { .. }), "{error}");
        assert_eq!(remains(), before);
    });
}

#[test]
fn routes_of_the_host_are_told() {
    isolated("routes_of_the_host_are_told", async |driver| {
        add_neighbour();
        shell("ip route add default via 192.0.2.2; ip route add 10.8.0.0/16 via 192.0.2.2");
        let routes = driver.routes().await.unwrap();
        for (block, known) in [("10.8.0.0/16", true), ("172.30.1.0/24", true), ("0.0.0.0/0", false)]
        {
            assert_eq!(routes.contains(&block.parse().unwrap()), known, "{block}: {routes:?}");
        }
    });
}

#[test]
fn other_names_are_asked_of_the_hosts_resolver() {
    isolated("other_names_are_asked_of_the_hosts_resolver", async |driver| {
        let resolver = UdpSocket::bind("127.0.0.1:53").unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = resolver.recv_from(&mut buffer) {
                let mut reply = Message::from_vec(&buffer[..length]).unwrap().into_response();
                reply.metadata.response_code = ResponseCode::NXDomain;
                // A forged answer first: it must not be taken.
                let mut forged = reply.clone();
                forged.metadata.id ^= 1;
                forged.metadata.response_code = ResponseCode::Refused;
                resolver.send_to(&forged.to_vec().unwrap(), peer).unwrap();
                resolver.send_to(&reply.to_vec().unwrap(), peer).unwrap();
            }
        });
        let web = join(&driver, &endpoint("web", &[])).await.unwrap();
        let reply = within(&web.namespace, || ask_udp("nowhere.example.")).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(reply.metadata.id, 7);
        // Nobody listens on TCP there.
        let reply = within(&web.namespace, || ask_tcp("nowhere.example.")).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    });
}

#[test]
fn a_bare_kernel_passes_the_checks() {
    isolated("a_bare_kernel_passes_the_checks", async |_driver| {
        for check in oriel_hns::check().await {
            assert_eq!(check.level, CheckLevel::Ok, "{}: {}", check.name, check.finding);
        }
    });
}
