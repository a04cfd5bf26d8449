//! Invented alarm events, and rules for them: as many as one likes.
//!
//! Every rule has an identity - product, instance, region, address, application - and about half of
//! the events carry that of one of the first 100,000 rules. The first rules of a large set are the
//! small set. Sizes and shapes are those of Tencent Cloud's alarm events in CloudEvents form.

use serde_json::{Value, json};

use crate::random::Random;

/// How many rules have events that carry their identity.
pub(crate) const RULES: usize = 100_000;

const PRODUCTS: [&str; 20] = [
    "cvm",
    "cdb",
    "clb",
    "cos",
    "scf",
    "tke",
    "vpc",
    "redis",
    "mongodb",
    "ckafka",
    "es",
    "lighthouse",
    "cfs",
    "cdn",
    "waf",
    "dts",
    "tdsql",
    "emr",
    "apigw",
    "eb",
];
const ALARMS: [&str; 20] = [
    "PingUnreachable",
    "GuestReboot",
    "GuestCoreError",
    "GuestOom",
    "DiskReadonly",
    "DDosAttack",
    "RamError",
    "KernelError",
    "NicError",
    "DiskError",
    "CpuHigh",
    "MemHigh",
    "DiskFull",
    "ConnHigh",
    "SlowQuery",
    "ReplicaLag",
    "FailOver",
    "Expired",
    "QuotaHigh",
    "Backup",
];
const REGIONS: [&str; 10] = [
    "ap-guangzhou",
    "ap-shanghai",
    "ap-beijing",
    "ap-chengdu",
    "ap-chongqing",
    "ap-hongkong",
    "ap-singapore",
    "ap-tokyo",
    "eu-frankfurt",
    "na-ashburn",
];
const WORDS: [&str; 16] = [
    "disk",
    "network",
    "kernel",
    "panic",
    "latency",
    "timeout",
    "refused",
    "unreachable",
    "restart",
    "replica",
    "quota",
    "throttle",
    "certificate",
    "expired",
    "backup",
    "memory",
];

/// What the rules of a set ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Three exact fields: source, type, subject; the subject is the rule's own.
    Exact,
    /// Of ten rules five are exact, and one each has a subject prefix, a numeric range, an
    /// anything-but, an address block, and by turns a suffix, an equals-ignore-case or an absent
    /// field; all beside exact fields.
    Mixed,
    /// Like [`Kind::Mixed`], but every twentieth rule has a wildcard on the message.
    Wild,
    /// By turns a subject prefix, a subject suffix, a narrow numeric range or an address block,
    /// and nothing beside it.
    Loose,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Exact, Self::Mixed, Self::Wild, Self::Loose];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Mixed => "mixed",
            Self::Wild => "wild",
            Self::Loose => "loose",
        }
    }
}

/// What a rule and the events for it have in common.
struct Identity {
    product: String,
    alarm: &'static str,
    subject: String,
    region: &'static str,
    /// The first three parts of the address, and the last.
    block: String,
    host: usize,
    application: String,
}

impl Identity {
    fn new(number: usize) -> Self {
        let mut random = Random::new("identity", number);
        let product = random.below(400);
        let name = PRODUCTS[product % PRODUCTS.len()];
        Self {
            product: match product / PRODUCTS.len() {
                0 => name.to_owned(),
                more => format!("{name}{more}"),
            },
            alarm: random.pick(&ALARMS),
            subject: format!("ins-{}", random.word(8)),
            region: random.pick(&REGIONS),
            block: format!("10.{}.{}", random.below(256), random.below(256)),
            host: random.below(256),
            application: (1_250_000_000 + random.below(5000)).to_string(),
        }
    }

    fn source(&self) -> String {
        format!("{}.cloud.tencent", self.product)
    }

    fn kind(&self) -> String {
        format!("{}:ErrorEvent:{}", self.product, self.alarm)
    }
}

/// The event of this number.
pub(crate) fn event(number: usize) -> String {
    let random = &mut Random::new("event", number);
    let identity = Identity::new(if random.chance(0.5) {
        random.below(RULES)
    } else {
        RULES + 1_000_000 + number
    });
    let id = [8, 4, 4, 4, 12].map(|length| random.word(length)).join("-");
    let message: Vec<_> = (0..8).map(|_| random.pick(&WORDS)).collect();
    let hundredths = |random: &mut Random| (random.unit() * 100_000.0).round() / 100.0;
    json!({
        "specversion": "1.0",
        "id": id,
        "source": identity.source(),
        "type": identity.kind(),
        "subject": identity.subject,
        "time": 1_760_000_000_000 + number * 37,
        "region": identity.region,
        "datacontenttype": "application/json;charset=utf-8",
        "status": random.below(2).to_string(),
        "resource": [format!(
            "qcs::eb:{}:uid/{}:eventbusid/eb-{}",
            identity.region, identity.application, random.word(8)
        )],
        "tags": {
            "env": random.pick(&["prod", "staging", "dev"]),
            "team": format!("team-{}", random.below(60)),
        },
        "data": {
            "appId": identity.application,
            "instanceId": identity.subject,
            "projectId": random.below(40).to_string(),
            "value": hundredths(random),
            "threshold": 90,
            "dimensions": {
                "ip": format!("{}.{}", identity.block, identity.host),
                "uuid": random.word(12),
                "objType": identity.product,
            },
            "additionalMsg": [
                {"key": "zone", "value": format!("{}-{}", identity.region, random.within(1, 6))},
                {"key": "host", "value": random.word(10)},
            ],
            "message": format!("{} {}", message.join(" "), random.word(6)),
        },
    })
    .to_string()
}

/// The rule of this number.
pub(crate) fn rule(kind: Kind, number: usize) -> String {
    let identity = Identity::new(number);
    let random = &mut Random::new("rule", number);
    match kind {
        Kind::Exact => json!({
            "source": [identity.source()],
            "type": [identity.kind()],
            "subject": [identity.subject],
        }),
        Kind::Loose => loose(&identity, number, random),
        Kind::Wild if number % 20 == 4 => {
            let wildcard = format!(
                "*{}*{} {}*",
                random.pick(&WORDS),
                random.pick(&WORDS),
                random.word(2)
            );
            json!({
                "source": [identity.source()],
                "data": {"message": [{"wildcard": wildcard}]},
            })
        }
        Kind::Mixed | Kind::Wild => mixed(&identity, number, random),
    }
    .to_string()
}

fn loose(identity: &Identity, number: usize, random: &mut Random) -> Value {
    let subject = &identity.subject;
    match number % 4 {
        0 => json!({"subject": [{"prefix": subject[..7]}]}),
        1 => json!({"subject": [{"suffix": subject[subject.len() - 3..]}]}),
        2 => {
            let tenths = random.below(9990);
            let least = f64::from(u32::try_from(tenths).unwrap_or_default()) / 10.0;
            json!({"data": {"value": [{"numeric": [">=", least, "<", least + 1.0]}]}})
        }
        _ => {
            json!({"data": {"dimensions": {"ip": [{"cidr": format!("{}.0/24", identity.block)}]}}})
        }
    }
}

fn mixed(identity: &Identity, number: usize, random: &mut Random) -> Value {
    let Identity {
        subject,
        region,
        application,
        ..
    } = identity;
    let (source, kind) = (identity.source(), identity.kind());
    match number % 10 {
        0..=2 => json!({
            "source": [source],
            "type": [kind],
            "subject": [subject, format!("ins-{}", random.word(8))],
        }),
        3 => json!({
            "source": [source],
            "type": [kind],
            "region": [region],
            "data": {"appId": [application]},
        }),
        4 => json!({
            "source": [source],
            "type": [kind],
            "tags": {"team": [format!("team-{}", random.below(60))]},
            "region": [region],
        }),
        5 => json!({"source": [source], "type": [kind], "subject": [{"prefix": subject[..7]}]}),
        6 => {
            let least = random.below(990);
            json!({
                "source": [source],
                "type": [kind],
                "data": {"value": [{"numeric": [">=", least, "<", least + 10]}]},
            })
        }
        7 => json!({
            "source": [source],
            "type": [kind],
            "region": [{"anything-but": [region]}],
            "data": {"appId": [application]},
        }),
        8 => json!({
            "source": [source],
            "type": [kind],
            "data": {"dimensions": {"ip": [{"cidr": format!("{}.0/24", identity.block)}]}},
        }),
        _ => match number / 10 % 3 {
            0 => json!({
                "type": [kind],
                "subject": [{"suffix": subject[subject.len() - 5..]}],
            }),
            1 => json!({
                "source": [source],
                "subject": [{"equals-ignore-case": subject.to_uppercase()}],
            }),
            _ => json!({
                "source": [source],
                "subject": [subject],
                "data": {"error": [{"exists": false}]},
            }),
        },
    }
}
