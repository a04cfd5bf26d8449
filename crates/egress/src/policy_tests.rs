//! Every spelling of an address that must not be reached, and some that must.

use super::*;

fn public() -> EgressPolicy {
    EgressPolicy {
        allow_http: true,
        ..EgressPolicy::default()
    }
}

fn class(text: &str) -> AddressClass {
    AddressClass::of(text.parse().unwrap())
}

#[test]
fn addresses_are_told_apart() {
    use AddressClass::*;
    for (address, expected) in [
        ("8.8.8.8", Public),
        ("1.1.1.1", Public),
        ("100.63.255.255", Public),
        ("100.128.0.1", Public),
        ("172.15.0.1", Public),
        ("172.32.0.1", Public),
        ("192.0.1.1", Public),
        ("198.17.0.1", Public),
        ("198.20.0.1", Public),
        ("223.255.255.255", Public),
        ("2606:4700:4700::1111", Public),
        ("2a00:1450:4001:81b::200e", Public),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("10.0.0.1", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.1.1", Private),
        ("fc00::1", Private),
        ("fdff::1", Private),
        ("fec0::1", Private),
        ("169.254.0.23", LinkLocal),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("100.64.0.1", CarrierNat),
        ("100.127.255.255", CarrierNat),
        ("224.0.0.1", Multicast),
        ("239.255.255.250", Multicast),
        ("ff02::1", Multicast),
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("::", Unspecified),
        ("169.254.169.254", Metadata),
        ("100.100.100.200", Metadata),
        ("168.63.129.16", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("192.0.0.192", Reserved),
        ("192.0.2.1", Reserved),
        ("198.51.100.1", Reserved),
        ("203.0.113.1", Reserved),
        ("192.88.99.1", Reserved),
        ("198.18.0.1", Reserved),
        ("198.19.255.255", Reserved),
        ("240.0.0.1", Reserved),
        ("255.255.255.255", Reserved),
        ("2001:db8::1", Reserved),
        ("2001:2::1", Reserved),
        ("2001:10::1", Reserved),
        ("3fff::1", Reserved),
        ("100::1", Reserved),
        ("64:ff9b:1::7f00:1", Reserved),
        ("5f00::1", Reserved),
    ] {
        assert_eq!(class(address), expected, "{address}");
    }
}

#[test]
fn an_address_inside_another_is_judged() {
    for form in [
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2002:7f00:1::1",
        "2001:0:7f00:1::",
        "2001:0:808:808:0:0:80ff:fffe", // Teredo: the client is 127.0.0.1 with every bit turned
        "2606:4700::5efe:7f00:1",       // ISATAP
        "2606:4700::200:5efe:7f00:1",
    ] {
        assert_eq!(class(form), AddressClass::Loopback, "{form}");
        assert!(
            public().check_address(form.parse().unwrap()).is_err(),
            "{form}"
        );
    }
    for (form, expected) in [
        ("::ffff:169.254.169.254", AddressClass::Metadata),
        ("64:ff9b::a9fe:a9fe", AddressClass::Metadata),
        ("2002:a9fe:a9fe::1", AddressClass::Metadata),
        ("64:ff9b::a00:1", AddressClass::Private),
        ("::ffff:10.0.0.1", AddressClass::Private),
        // A network that reaches IPv4 through NAT64 must still reach the public part of it.
        ("64:ff9b::808:808", AddressClass::Public),
        ("::ffff:8.8.8.8", AddressClass::Public),
    ] {
        assert_eq!(class(form), expected, "{form}");
    }
}

#[test]
fn literal_hosts_are_refused_in_every_spelling() {
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0",
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "2852039166",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/hook");
            assert!(public().check_url(&url).is_err(), "{url}");
        }
    }
    for good in [
        "https://example.com/hook",
        "http://8.8.8.8:8080/x?y=1",
        "https://[2606:4700:4700::1111]/",
        "https://例え.jp/",
    ] {
        assert!(public().check_url(good).is_ok(), "{good}");
    }
}

#[test]
fn only_plain_absolute_urls_are_accepted() {
    let policy = EgressPolicy::default();
    for (url, said) in [
        ("http://example.com", "use https"),
        ("ftp://example.com", "expected scheme https, got ftp"),
        ("file:///etc/passwd", "expected scheme https"),
        ("/hook", "expected an absolute URL"),
        ("example.com/hook", "expected an absolute URL"),
        ("", "expected an absolute URL"),
        ("https://", "expected an absolute URL"),
        ("https://user:pass@example.com/", "use auth"),
        ("https://user@example.com/", "use auth"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:0/", "port 0"),
        (" https://example.com/", "no spaces"),
        ("https://exa\tmple.com/", "no spaces"),
        ("https://example.com/a b", "no spaces"),
    ] {
        let error = policy.check_url(url).unwrap_err();
        assert!(error.contains(said), "{url}: {error}");
        assert!(!error.contains("pass@"), "{error}");
    }
    assert!(
        policy
            .check_url(&format!(
                "https://example.com/{}",
                "a".repeat(URL_BYTES_MAX)
            ))
            .is_err()
    );
}

#[test]
fn the_lists_go_before_the_classes_and_deny_before_allow() {
    let nets = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().unwrap())
            .collect::<Vec<IpNet>>()
    };
    let policy = EgressPolicy {
        allow: nets(&["10.1.0.0/16", "169.254.169.254/32"]),
        deny: nets(&["10.1.2.0/24", "8.8.0.0/16"]),
        ..EgressPolicy::default()
    };
    let ok = |text: &str| policy.check_address(text.parse().unwrap()).is_ok();
    assert!(ok("10.1.0.1") && ok("::ffff:10.1.0.1") && ok("169.254.169.254") && ok("1.1.1.1"));
    assert!(
        !ok("10.1.2.3")
            && !ok("10.2.0.1")
            && !ok("8.8.8.8")
            && !ok("::ffff:8.8.8.8")
            && !ok("64:ff9b::808:808")
    );
}

#[test]
fn private_networks_can_be_allowed_without_metadata_services() {
    let policy = EgressPolicy {
        allow_private: true,
        allow_loopback: true,
        ..EgressPolicy::default()
    };
    let ok = |text: &str| policy.check_address(text.parse().unwrap()).is_ok();
    for good in ["10.0.0.1", "192.168.1.1", "fc00::1", "127.0.0.1", "::1"] {
        assert!(ok(good), "{good}");
    }
    for bad in [
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "fe80::1",
    ] {
        assert!(!ok(bad), "{bad}");
    }
}

#[test]
fn ports_can_be_restricted() {
    let policy = EgressPolicy {
        ports: vec![443, 8443],
        ..EgressPolicy::default()
    };
    assert!(policy.check_url("https://example.com/").is_ok());
    assert!(policy.check_url("https://example.com:8443/").is_ok());
    assert!(policy.check_url("https://example.com:22/").is_err());
}
