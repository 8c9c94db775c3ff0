//! Content of the few files below `/etc` and `/sys` that libc and Wine read.

use oriel_hcs::{Limits, SystemDocument};

use crate::job::PERIOD_MICROS;

/// One user, because one uid runs everything inside; Windows accounts are tokens, not uids.
const PASSWD: &str = "root:x:0:0::/run/user/0:/nonexistent\n";

/// The group of [`PASSWD`].
const GROUP: &str = "root:x:0:\n";

/// Names come from the files here first, then from the network's name server.
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n\
                        protocols: files\n";

/// Protocol numbers of IANA's registry that Winsock programs ask for by name.
const PROTOCOLS: &str = "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6 41 IPv6\n\
                         ipv6-icmp 58 IPv6-ICMP\n";

/// Ports of IANA's registry that Winsock programs ask for by name.
const SERVICES: &str = "\
echo 7/tcp
echo 7/udp
discard 9/tcp
discard 9/udp
daytime 13/tcp
ftp-data 20/tcp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
time 37/tcp
domain 53/tcp
domain 53/udp
bootps 67/udp
bootpc 68/udp
tftp 69/udp
http 80/tcp www
kerberos 88/tcp
kerberos 88/udp
pop3 110/tcp
sunrpc 111/tcp
ntp 123/udp
epmap 135/tcp
netbios-ns 137/udp
netbios-dgm 138/udp
netbios-ssn 139/tcp
imap2 143/tcp imap
snmp 161/udp
ldap 389/tcp
https 443/tcp
microsoft-ds 445/tcp
syslog 514/udp
ldaps 636/tcp
imaps 993/tcp
pop3s 995/tcp
ms-sql-s 1433/tcp
mysql 3306/tcp
ms-wbt-server 3389/tcp
postgresql 5432/tcp
";

/// Files below `/etc`, as name and content.
pub(crate) fn etc_files(document: &SystemDocument) -> Vec<(&'static str, String)> {
    vec![
        ("hosts", document.hosts.clone()),
        ("resolv.conf", document.resolv_conf.clone()),
        ("hostname", format!("{}\n", document.host_name)),
        ("passwd", PASSWD.to_owned()),
        ("group", GROUP.to_owned()),
        ("nsswitch.conf", NSSWITCH.to_owned()),
        ("protocols", PROTOCOLS.to_owned()),
        ("services", SERVICES.to_owned()),
    ]
}

/// Files below `/sys/devices/system`, which is where libc counts processors.
pub(crate) fn system_files(processors: u64) -> Vec<(&'static str, String)> {
    let range = match processors.max(1) - 1 {
        0 => "0\n".to_owned(),
        last => format!("0-{last}\n"),
    };
    vec![
        ("cpu/online", range.clone()),
        ("cpu/present", range.clone()),
        ("cpu/possible", range),
        ("node/online", "0\n".to_owned()),
    ]
}

/// Processors to show: as many as the limit needs, at most those of the host.
pub(crate) fn processors(limits: &Limits, host: u64) -> u64 {
    const NANOS: u64 = 1_000_000_000;
    let period = limits.period_micros.unwrap_or(PERIOD_MICROS);
    let nanos = limits.nano_cpus.map(|nanos| nanos.div_ceil(NANOS));
    let needed = nanos.or_else(|| limits.quota_micros.map(|quota| quota.div_ceil(period.max(1))));
    needed.map_or(host, |needed| needed.clamp(1, host.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_processor_shows_as_one_and_many_as_those_of_the_host() {
        let nanos = |nanos| Limits { nano_cpus: Some(nanos), ..Limits::default() };
        assert_eq!(processors(&nanos(500_000_000), 4), 1);
        assert_eq!(processors(&nanos(1_500_000_000), 4), 2);
        assert_eq!(processors(&nanos(64_000_000_000), 4), 4);
        assert_eq!(processors(&Limits::default(), 4), 4);
        let quota =
            Limits { quota_micros: Some(75_000), period_micros: Some(50_000), ..Limits::default() };
        assert_eq!(processors(&quota, 4), 2);
    }

    #[test]
    fn a_single_processor_is_not_a_range() {
        assert_eq!(system_files(1)[0].1, "0\n");
        assert_eq!(system_files(8)[0].1, "0-7\n");
    }
}
