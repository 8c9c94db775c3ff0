//! What a network knows about names, and answers from it. Pure.
//!
//! A name is known as `web` and as `web.NETWORK`; addresses of the subnet lead back to the first
//! name. Whatever is not known here is [`Answer::Forward`], except addresses of the subnet, which
//! nobody outside can know.

use std::{collections::BTreeMap, net::Ipv4Addr};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, PTR},
    },
};

use crate::addresses::Subnet;

/// Seconds an answer may be kept. Containers come and go; asking again costs nothing.
const TIME_TO_LIVE: u32 = 10;

/// Addresses in an answer: with the longest name it stays below the 512 bytes of RFC 1035, 4.2.1.
const MAX_ADDRESSES: usize = 12;

/// What our own answers promise to take, from the DNS flag day 2020.
const PAYLOAD: u16 = 1232;

/// Bytes of a message's header, RFC 1035, 4.1.1.
pub(crate) const HEADER: usize = 12;

/// The names of a network.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    network: String,
    subnet: Subnet,
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    names: BTreeMap<Ipv4Addr, String>,
}

/// What to do about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Send this back.
    Reply(Vec<u8>),
    /// Ask somebody else. The asker takes so many bytes in a datagram.
    Forward {
        /// Largest datagram the asker takes.
        payload: usize,
    },
    /// Say nothing: not a question.
    Ignore,
}

impl Zone {
    /// An empty zone.
    pub(crate) fn new(network: &str, subnet: Subnet) -> Self {
        Self {
            network: network.to_ascii_lowercase(),
            subnet,
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// Adds the names of an endpoint. A name may belong to several.
    pub(crate) fn insert(&mut self, address: Ipv4Addr, names: &[String]) {
        for name in names {
            let addresses = self.addresses.entry(name.to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if let Some(first) = names.first() {
            self.names.insert(address, first.clone());
        }
    }

    /// What the network knows about the question; `None` when it is not for the network to say.
    fn look_up(&self, query: &Query, turn: u16) -> Option<(ResponseCode, Vec<Record>)> {
        if query.query_class != DNSClass::IN {
            return None;
        }
        let name = text(&query.name)?;
        if let Some(address) = reversed(&name) {
            return self.look_up_address(address, query);
        }
        let mut addresses = self.find(&name)?.clone();
        let asked_for = matches!(query.query_type, RecordType::A | RecordType::ANY);
        if !asked_for {
            return Some((ResponseCode::NoError, Vec::new()));
        }
        // Each in turn comes first, so that the load spreads.
        let first = usize::from(turn) % addresses.len().max(1);
        addresses.rotate_left(first);
        let records = addresses.into_iter().take(MAX_ADDRESSES).map(|address| {
            Record::from_rdata(query.name.clone(), TIME_TO_LIVE, RData::A(A(address)))
        });
        Some((ResponseCode::NoError, records.collect()))
    }

    fn find(&self, name: &str) -> Option<&Vec<Ipv4Addr>> {
        let within = || name.strip_suffix(&self.network).and_then(|name| name.strip_suffix('.'));
        self.addresses.get(name).or_else(|| self.addresses.get(within()?))
    }

    fn look_up_address(
        &self,
        address: Ipv4Addr,
        query: &Query,
    ) -> Option<(ResponseCode, Vec<Record>)> {
        if !self.subnet.contains(address) {
            return None;
        }
        // A name that DNS cannot carry is found by nobody either.
        let Some(name) = self.names.get(&address).and_then(|name| absolute(name)) else {
            return Some((ResponseCode::NXDomain, Vec::new()));
        };
        if !matches!(query.query_type, RecordType::PTR | RecordType::ANY) {
            return Some((ResponseCode::NoError, Vec::new()));
        }
        let record = Record::from_rdata(query.name.clone(), TIME_TO_LIVE, RData::PTR(PTR(name)));
        Some((ResponseCode::NoError, vec![record]))
    }
}

/// Answers a message of a container from the zones of its networks: the first that knows the name
/// answers.
pub(crate) fn answer<'a>(message: &[u8], zones: impl IntoIterator<Item = &'a Zone>) -> Answer {
    let Ok(asked) = Message::from_vec(message) else { return refuse_malformed(message) };
    if asked.metadata.message_type != MessageType::Query {
        return Answer::Ignore;
    }
    if asked.metadata.op_code != OpCode::Query {
        return reply(&asked, ResponseCode::NotImp, Vec::new());
    }
    let [query] = asked.queries.as_slice() else {
        return reply(&asked, ResponseCode::FormErr, Vec::new());
    };
    match zones.into_iter().find_map(|zone| zone.look_up(query, asked.metadata.id)) {
        Some((code, records)) => reply(&asked, code, records),
        None => Answer::Forward { payload: asked.max_payload().into() },
    }
}

/// The answer that nobody could be asked, for a question that was [`Answer::Forward`].
pub(crate) fn failure(message: &[u8]) -> Answer {
    match Message::from_vec(message) {
        Ok(asked) => reply(&asked, ResponseCode::ServFail, Vec::new()),
        Err(_) => refuse_malformed(message),
    }
}

fn reply(asked: &Message, code: ResponseCode, records: Vec<Record>) -> Answer {
    let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(asked.queries.iter().take(1).cloned());
    message.add_answers(records);
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
    }
    message.to_vec().map_or(Answer::Ignore, Answer::Reply)
}

/// A header alone that says `FORMERR`, when there is enough to say it to.
fn refuse_malformed(message: &[u8]) -> Answer {
    const RESPONSE: u8 = 0x80;
    const FORMAT_ERROR: u8 = 1;
    match message {
        [high, low, flags, ..] if message.len() >= HEADER && flags & RESPONSE == 0 => {
            let mut header = vec![*high, *low, flags | RESPONSE, FORMAT_ERROR];
            header.resize(HEADER, 0);
            Answer::Reply(header)
        }
        _ => Answer::Ignore,
    }
}

/// The name as `web.network`, in lower case; `None` when a label is not plain text.
fn text(name: &Name) -> Option<String> {
    let mut labels = Vec::new();
    for label in name.iter() {
        let label = std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?;
        labels.push(label.to_ascii_lowercase());
    }
    Some(labels.join("."))
}

/// The address that `2.0.17.172.in-addr.arpa` asks about.
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [d, c, b, a] = address.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

/// The name with its end marked: nothing is to be appended.
fn absolute(name: &str) -> Option<Name> {
    let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Ipv4Addr = Ipv4Addr::new(172, 30, 1, 2);
    const TWIN: Ipv4Addr = Ipv4Addr::new(172, 30, 1, 3);

    fn zone() -> Zone {
        let block = "172.30.1.0/24".parse().unwrap();
        let subnet = Subnet::new(block, [172, 30, 1, 1].into()).unwrap();
        let mut zone = Zone::new("Nat", subnet);
        zone.insert(WEB, &["Web".to_owned(), "shared".to_owned(), "4f2ad7c1b0e9".to_owned()]);
        zone.insert(TWIN, &["my_twin".to_owned(), "shared".to_owned()]);
        zone
    }

    fn question(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn ask(name: &str, kind: RecordType) -> Option<Message> {
        reply_to(&question(name, kind))
    }

    fn reply_to(message: &Message) -> Option<Message> {
        match answer(&message.to_vec().unwrap(), [&zone()]) {
            Answer::Reply(reply) => Some(Message::from_vec(&reply).unwrap()),
            _ => None,
        }
    }

    fn addresses(message: &Message) -> Vec<Ipv4Addr> {
        let address = |record: &Record| match &record.data {
            RData::A(A(address)) => Some(*address),
            _ => None,
        };
        message.answers.iter().filter_map(address).collect()
    }

    #[test]
    fn names_are_found_without_case_and_with_the_network_behind() {
        for name in ["web.", "WEB.", "web.nat.", "wEb.NAT.", "4f2ad7c1b0e9."] {
            let reply = ask(name, RecordType::A).unwrap();
            assert_eq!(addresses(&reply), [WEB], "{name}");
            assert_eq!(reply.metadata.id, 7);
            assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
        }
        assert_eq!(addresses(&ask("my_twin.", RecordType::A).unwrap()), [TWIN]);
    }

    #[test]
    fn a_shared_name_gives_every_address_in_turn() {
        let mut message = question("shared.", RecordType::A);
        for (id, expected) in [(0, [WEB, TWIN]), (1, [TWIN, WEB])] {
            message.metadata.id = id;
            assert_eq!(addresses(&reply_to(&message).unwrap()), expected);
        }
    }

    #[test]
    fn the_first_network_that_knows_a_name_answers() {
        let block = "10.9.0.0/24".parse().unwrap();
        let mut other = Zone::new("back", Subnet::new(block, [10, 9, 0, 1].into()).unwrap());
        let db = Ipv4Addr::new(10, 9, 0, 2);
        other.insert(db, &["db".to_owned(), "web".to_owned()]);
        let zone = zone();
        for (name, expected) in [("web.", WEB), ("db.", db), ("web.back.", db), ("db.back.", db)] {
            let bytes = question(name, RecordType::A).to_vec().unwrap();
            let Answer::Reply(reply) = answer(&bytes, [&zone, &other]) else { panic!("{name}") };
            assert_eq!(addresses(&Message::from_vec(&reply).unwrap()), [expected], "{name}");
        }
    }

    #[test]
    fn known_names_have_no_records_of_other_kinds() {
        for kind in [RecordType::AAAA, RecordType::MX, RecordType::TXT] {
            let reply = ask("web.", kind).unwrap();
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
            assert!(reply.answers.is_empty());
        }
    }

    #[test]
    fn addresses_lead_back_to_the_first_name() {
        let reply = ask("2.1.30.172.in-addr.arpa.", RecordType::PTR).unwrap();
        let RData::PTR(PTR(name)) = &reply.answers[0].data else { panic!("no PTR") };
        assert_eq!(name.to_ascii(), "Web.");
        let unknown = ask("9.1.30.172.in-addr.arpa.", RecordType::PTR).unwrap();
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn what_is_not_known_is_for_others_to_say() {
        for name in ["example.com.", "web.example.com.", "webnat.", "nat.", "8.8.8.8.in-addr.arpa."]
        {
            assert_eq!(ask(name, RecordType::A), None, "{name}");
        }
        let bytes = question("example.com.", RecordType::A).to_vec().unwrap();
        assert_eq!(answer(&bytes, [&zone()]), Answer::Forward { payload: 512 });
    }

    #[test]
    fn extended_questions_get_extended_answers() {
        let mut message = question("web.", RecordType::A);
        message.set_edns(Edns::new());
        assert_eq!(reply_to(&message).unwrap().max_payload(), PAYLOAD);
    }

    #[test]
    fn answers_are_never_answered() {
        let mut message = question("web.", RecordType::A);
        message.metadata.message_type = MessageType::Response;
        assert_eq!(answer(&message.to_vec().unwrap(), [&zone()]), Answer::Ignore);
    }

    #[test]
    fn odd_questions_are_refused() {
        let mut message = question("web.", RecordType::A);
        message.add_query(message.queries[0].clone());
        assert_eq!(reply_to(&message).unwrap().metadata.response_code, ResponseCode::FormErr);
        let mut message = question("web.", RecordType::A);
        message.metadata.op_code = OpCode::Status;
        assert_eq!(reply_to(&message).unwrap().metadata.response_code, ResponseCode::NotImp);
    }

    #[test]
    fn a_message_cut_anywhere_is_refused_or_ignored() {
        let whole = question("web.nat.", RecordType::A).to_vec().unwrap();
        for length in 0..whole.len() {
            let expected = if length < HEADER { 0 } else { HEADER };
            match answer(&whole[..length], [&zone()]) {
                Answer::Reply(reply) => assert_eq!(reply.len(), expected, "{length}"),
                Answer::Ignore => assert_eq!(expected, 0, "{length}"),
                Answer::Forward { .. } => panic!("{length}"),
            }
        }
    }

    #[test]
    fn compression_that_bites_its_tail_is_refused() {
        let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for name in [[0xc0, 12], [0xc0, 14], [0xff, 0xff]] {
            let message = [header.as_slice(), &name, &[0xc0, 12, 0, 1, 0, 1]].concat();
            let mut expected = vec![0, 7, 0x81, 1];
            expected.resize(HEADER, 0);
            assert_eq!(answer(&message, [&zone()]), Answer::Reply(expected), "{name:?}");
        }
    }

    #[test]
    fn the_largest_answer_fits_a_plain_datagram() {
        let mut zone = zone();
        let label = "x".repeat(63);
        let name = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        for last in 10..100 {
            zone.insert(Ipv4Addr::new(172, 30, 1, last), std::slice::from_ref(&name));
        }
        let message = question(&format!("{name}."), RecordType::A).to_vec().unwrap();
        let Answer::Reply(reply) = answer(&message, [&zone]) else { panic!("no reply") };
        assert!(reply.len() <= 512, "{}", reply.len());
        assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), MAX_ADDRESSES);
    }

    #[test]
    fn failure_is_told_with_the_question() {
        let bytes = question("example.com.", RecordType::A).to_vec().unwrap();
        let Answer::Reply(reply) = failure(&bytes) else { panic!("no reply") };
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(reply.queries.len(), 1);
    }
}
