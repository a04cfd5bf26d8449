//! Which addresses may be reached.
//!
//! An address is judged in its plainest form: one that carries an IPv4 address inside (mapped, NAT64, 6to4, Teredo,
//! ISATAP) is judged by that address, so that no spelling of `127.0.0.1` gets past a rule for `127.0.0.1`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// Longest URL, in bytes.
pub(crate) const URL_BYTES_MAX: usize = 4096;

/// Which addresses, schemes and ports may be used. The default reaches the public Internet over `https` only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Networks that may be reached whatever the rules below say.
    pub allow: Vec<IpNet>,
    /// Networks that may not be reached whatever the other rules say.
    pub deny: Vec<IpNet>,
    /// Whether this machine itself (127.0.0.0/8, `::1`) may be reached.
    pub allow_loopback: bool,
    /// Whether private networks (RFC 1918, unique local IPv6) may be reached. Cloud metadata services stay refused.
    pub allow_private: bool,
    /// Whether plain `http` may be used.
    pub allow_http: bool,
    /// The ports that may be used; empty: any.
    pub ports: Vec<u16>,
}

/// What kind of address it is, as far as the policy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// On the public Internet.
    Public,
    /// This machine.
    Loopback,
    /// RFC 1918 or unique local.
    Private,
    /// Only on this link.
    LinkLocal,
    /// Shared by a carrier's customers (100.64.0.0/10).
    CarrierNat,
    /// A group of machines, or all of them.
    Multicast,
    /// No address (0.0.0.0/8, `::`).
    Unspecified,
    /// Hands out credentials to whoever asks from inside a cloud.
    Metadata,
    /// Set aside: documentation, benchmarks, protocols, future use.
    Reserved,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::CarrierNat => "a carrier NAT address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "no usable address",
            Self::Metadata => "a cloud metadata service",
            Self::Reserved => "a reserved address",
        })
    }
}

/// Cloud metadata services outside the link-local range (which is refused as a whole).
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure, looks public
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google Cloud
];

impl AddressClass {
    /// The class of an address, looking through every form that carries an IPv4 address inside.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        if METADATA_V4.contains(&v4) {
            return Self::Metadata;
        }
        match v4.octets() {
            [0, ..] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [169, 254, 169, 254] => Self::Metadata,
            [169, 254, ..] => Self::LinkLocal,
            [100, 64..=127, ..] => Self::CarrierNat,
            [224..=239, ..] => Self::Multicast,
            // In order: IETF protocols, three for documentation, 6to4 relays, benchmarks, future use and broadcast.
            [192, 0, 0 | 2, _]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [240..=255, ..] => Self::Reserved,
            _ => Self::Public,
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        let inside = embedded(v6);
        if !inside.is_empty() {
            let refused = inside
                .iter()
                .map(|v4| Self::of_v4(*v4))
                .find(|class| *class != Self::Public);
            return refused.unwrap_or(Self::Public);
        }
        if METADATA_V6.contains(&v6) {
            return Self::Metadata;
        }
        match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xff00..=0xffff, ..] => Self::Multicast,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Private,
            // Set aside within the public range: protocols (benchmarks, ORCHID), documentation.
            [0x2001, 0x0000..=0x01ff | 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => {
                Self::Reserved
            }
            [0x2000..=0x3fff, ..] => Self::Public,
            // Everything outside 2000::/3: IPv4-compatible, local NAT64, discard, not yet given out.
            _ => Self::Reserved,
        }
    }
}

/// The IPv4 addresses that packets to `v6` may end at; empty when it is an address of its own.
fn embedded(v6: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = v6.segments();
    let tail = v4_from(s6, s7);
    match [s0, s1, s2, s3, s4, s5] {
        // In order: mapped, NAT64, translated (SIIT), ISATAP.
        [0, 0, 0, 0, 0, 0xffff]
        | [0x64, 0xff9b, 0, 0, 0, 0]
        | [0, 0, 0, 0, 0xffff, 0]
        | [0x2000..=0x3fff, _, _, _, 0x0000 | 0x0200, 0x5efe] => vec![tail],
        // IPv4-compatible. `::` and `::1` live in the same block and are addresses of their own.
        [0, 0, 0, 0, 0, 0] if s6 != 0 => vec![tail],
        [0x2002, a, b, ..] => vec![v4_from(a, b)],
        // Teredo: the server in the clear, the client with every bit turned.
        [0x2001, 0, a, b, ..] => vec![v4_from(a, b), v4_from(!s6, !s7)],
        _ => Vec::new(),
    }
}

fn v4_from(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

impl EgressPolicy {
    /// Everything on this machine and on private networks, plain `http` included: for tests and development.
    pub fn permissive() -> Self {
        Self {
            allow_loopback: true,
            allow_private: true,
            allow_http: true,
            ..Self::default()
        }
    }

    /// Whether `address` may be reached; else why not, for a person.
    pub fn check_address(&self, address: IpAddr) -> Result<(), String> {
        let forms = forms(address);
        let listed = |nets: &[IpNet]| {
            forms
                .iter()
                .any(|form| nets.iter().any(|net| net.contains(form)))
        };
        if listed(&self.deny) {
            return Err(format!(
                "{address} is denied by this server's egress policy"
            ));
        }
        if listed(&self.allow) {
            return Ok(());
        }
        let class = AddressClass::of(address);
        let allowed = match class {
            AddressClass::Public => true,
            AddressClass::Loopback => self.allow_loopback,
            AddressClass::Private => self.allow_private,
            _ => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(format!(
                "{address} is {class}, which this server's egress policy does not allow"
            ))
        }
    }

    /// Reads a URL and checks everything that can be told without asking the network.
    pub fn check_url(&self, text: &str) -> Result<Url, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("at most {URL_BYTES_MAX} bytes, got {}", text.len()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            // The parser would drop them silently.
            return Err("a URL holds no spaces or control characters".to_owned());
        }
        let url = Url::parse(text).map_err(|error| {
            format!("expected an absolute URL such as https://example.com/hook: {error}")
        })?;
        self.check_parsed(&url)?;
        Ok(url)
    }

    /// The same for a URL that is already read; asked again before each request.
    pub(crate) fn check_parsed(&self, url: &Url) -> Result<(), String> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                return Err(
                    "plain http is not allowed by this server's egress policy; use https"
                        .to_owned(),
                );
            }
            other => return Err(format!("expected scheme https, got {other}")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "a user name or password does not belong into the URL; use auth".to_owned(),
            );
        }
        if url.fragment().is_some() {
            return Err("a fragment (#...) is never sent; leave it out".to_owned());
        }
        self.check_port(url.port_or_known_default().unwrap_or(0))?;
        match url.host() {
            None => Err("the URL has no host".to_owned()),
            Some(Host::Ipv4(v4)) => self.check_address(v4.into()),
            Some(Host::Ipv6(v6)) => self.check_address(v6.into()),
            Some(Host::Domain(name)) => self.check_name(name),
        }
    }

    /// Checks a host and a port that no URL names, as [`check_url`](Self::check_url) does.
    pub(crate) fn check_host(&self, host: &str, port: u16) -> Result<(), String> {
        self.check_port(port)?;
        // The reading of URLs: it knows every spelling of an address, and lets only one reach the resolver.
        match Host::parse(host) {
            Ok(Host::Ipv4(v4)) if v4.to_string() == host => self.check_address(v4.into()),
            Ok(Host::Ipv6(v6)) => self.check_address(v6.into()),
            Ok(Host::Domain(name)) if name.eq_ignore_ascii_case(host) => self.check_name(&name),
            _ => Err(
                "expected the name of a host, such as smtp.example.com, or an address".to_owned(),
            ),
        }
    }

    fn check_port(&self, port: u16) -> Result<(), String> {
        if port == 0 || (!self.ports.is_empty() && !self.ports.contains(&port)) {
            return Err(format!(
                "port {port} is not allowed by this server's egress policy"
            ));
        }
        Ok(())
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        // Some resolvers answer these names themselves; the addresses are checked anyway, this only says it earlier.
        let bare = name.trim_end_matches('.');
        if bare == "localhost" || bare.ends_with(".localhost") {
            return self.check_address(Ipv4Addr::LOCALHOST.into()).map_err(|_| {
                format!("{name} is this machine, which this server's egress policy does not allow")
            });
        }
        Ok(())
    }
}

/// The address and what it carries inside; the lists of networks may be written for either.
fn forms(address: IpAddr) -> Vec<IpAddr> {
    let mut forms = vec![address];
    if let IpAddr::V6(v6) = address {
        forms.extend(embedded(v6).into_iter().map(IpAddr::V4));
    }
    forms
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
