//! Asks the host's own resolvers, with the question as it came.
//!
//! The host asks, not the container: resolvers on the host's loopback work too. Answers go back
//! unread but for what proves that they answer this very question.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use fs_err as fs;
use hickory_proto::op::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{NAME_SERVER, zone::HEADER};

/// How long one resolver is waited for; clients ask again after five seconds (`resolv.conf(5)`).
const DEADLINE: Duration = Duration::from_secs(4);
/// Resolvers asked one after the other, as many as the C library asks (`MAXNS` of `resolv.h`).
const MAX_RESOLVERS: usize = 3;
/// Largest datagram taken from a resolver: what clients commonly offer at most.
const MAX_DATAGRAM: usize = 4096;
/// Largest `resolv.conf` read.
const MAX_RESOLV_CONF: usize = 64 * 1024;

/// RFC 1035, 4.2.
pub(super) const DNS_PORT: u16 = 53;

/// How a question came, and is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In a datagram; the asker takes so many bytes back.
    Udp {
        /// Largest datagram the asker takes.
        payload: usize,
    },
    /// On a connection.
    Tcp,
}

/// The host's resolvers.
pub(crate) fn resolvers(resolv_conf: &Path) -> Vec<SocketAddr> {
    let text = fs::read(resolv_conf).unwrap_or_default();
    let text = text.get(..MAX_RESOLV_CONF).unwrap_or(&text);
    addresses(parse_resolvers(&String::from_utf8_lossy(text)))
}

/// Where resolvers are asked, without ourselves.
pub(crate) fn addresses(resolvers: impl IntoIterator<Item = IpAddr>) -> Vec<SocketAddr> {
    resolvers
        .into_iter()
        .filter(|address| *address != IpAddr::V4(NAME_SERVER))
        .take(MAX_RESOLVERS)
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .collect()
}

/// Addresses of the `nameserver` lines (`resolv.conf(5)`).
fn parse_resolvers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        words.next()?.parse().ok()
    };
    text.lines().filter_map(address).collect()
}

/// Asks one resolver after the other. `None` when none answered.
pub(crate) async fn ask(
    question: &[u8],
    transport: Transport,
    resolvers: &[SocketAddr],
) -> Option<Vec<u8>> {
    for resolver in resolvers {
        let answer = async {
            match transport {
                Transport::Udp { payload } => {
                    Ok(cut(ask_udp(question, *resolver).await?, question, payload))
                }
                Transport::Tcp => ask_tcp(question, *resolver).await,
            }
        };
        match timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%resolver, %error, "resolver failed"),
            Err(_) => tracing::debug!(%resolver, "resolver did not answer"),
        }
    }
    None
}

/// Waits without end for an answer that fits.
async fn ask_udp(question: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket of its own: a fresh port for each question is what makes forging answers hard.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    // Containers may choose bad numbers.
    let number = Message::query().metadata.id;
    socket.send(&renumbered(question, number)).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = &buffer[..length];
        if is_answer(answer, &renumbered(question, number)) {
            return Ok(renumbered(answer, number_of(question)));
        }
    }
}

async fn ask_tcp(question: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    if is_answer(&answer, question) {
        return Ok(answer);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"))
}

/// Writes a message with its length before it (RFC 1035, 4.2.2), in one piece.
pub(crate) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// Whether a message answers the question: same number, marked as answer, same question. Case of
/// letters may differ.
fn is_answer(message: &[u8], question: &[u8]) -> bool {
    const RESPONSE: u8 = 0x80;
    let Some(end) = question_end(question) else { return false };
    message.len() >= end
        && message[..2] == question[..2]
        && message[2] & RESPONSE != 0
        && message[4..6] == question[4..6]
        && message[HEADER..end].eq_ignore_ascii_case(&question[HEADER..end])
}

/// Where the first question of a message ends. A name there has nothing before it to point to, so
/// it is whole.
fn question_end(message: &[u8]) -> Option<usize> {
    const LONGEST_LABEL: u8 = 63;
    const KIND_AND_CLASS: usize = 4;
    let mut at = HEADER;
    loop {
        match *message.get(at)? {
            0 => break,
            length if length <= LONGEST_LABEL => at += 1 + usize::from(length),
            _ => return None,
        }
    }
    let end = at + 1 + KIND_AND_CLASS;
    (end <= message.len()).then_some(end)
}

/// An answer too large for the asker becomes its question, marked as cut: the asker comes again on
/// a connection.
fn cut(mut answer: Vec<u8>, question: &[u8], payload: usize) -> Vec<u8> {
    const TRUNCATED: u8 = 0x02;
    if let (true, Some(end)) = (answer.len() > payload, question_end(question)) {
        answer.truncate(end);
        answer[2] |= TRUNCATED;
        answer[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    }
    answer
}

fn renumbered(message: &[u8], number: u16) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    message
}

fn number_of(message: &[u8]) -> u16 {
    message.first_chunk().copied().map_or(0, u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number 7, recursion desired, `web` A IN.
    const QUESTION: [u8; 21] =
        [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'e', b'b', 0, 0, 1, 0, 1];

    fn answer() -> Vec<u8> {
        let mut answer = QUESTION.to_vec();
        answer[2] |= 0x80;
        answer[13] = b'W';
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
        answer
    }

    #[test]
    fn resolvers_are_read_as_the_c_library_reads_them() {
        let text = "# a\nsearch lan\nnameserver 192.0.2.1\n nameserver\t::1 x\n\
                    nameserver fe80::1%eth0\nnameserver\nnameservers 1.1.1.1\n";
        let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(parse_resolvers(text), expected);
    }

    #[test]
    fn our_own_address_is_never_asked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "nameserver 169.254.53.53\nnameserver 10.0.0.2\n").unwrap();
        let found = resolvers(file.path());
        assert_eq!(found, ["10.0.0.2:53".parse().unwrap()]);
        assert_eq!(resolvers(Path::new("/nonexistent")), []);
    }

    #[test]
    fn only_an_answer_to_this_question_is_taken() {
        assert!(is_answer(&answer(), &QUESTION));
        assert!(!is_answer(&QUESTION, &QUESTION), "a question");
        for place in [0, 1, 5, 12, 15, 18, 20] {
            let mut forged = answer();
            forged[place] ^= 0x11;
            assert!(!is_answer(&forged, &QUESTION), "{place}");
        }
        for length in 0..QUESTION.len() {
            assert!(!is_answer(&answer()[..length], &QUESTION), "{length}");
            assert!(!is_answer(&answer(), &QUESTION[..length]), "{length}");
        }
    }

    #[test]
    fn an_answer_too_large_is_cut_to_its_question() {
        assert_eq!(cut(answer(), &QUESTION, 512), answer());
        let cut = cut(answer(), &QUESTION, 20);
        assert_eq!(cut.len(), QUESTION.len());
        assert_eq!(cut[2] & 0x02, 0x02);
        assert_eq!(cut[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn numbers_are_put_back() {
        assert_eq!(number_of(&renumbered(&QUESTION, 0xabcd)), 0xabcd);
        assert_eq!(renumbered(&[1], 2), [1]);
    }
}
