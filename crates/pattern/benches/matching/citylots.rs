//! Invented parcels of a city, in the likeness of the file that event-ruler and quamina measure with.
//!
//! That file (`citylots2.json`, 213,068 parcels of San Francisco) is too large to carry about.
//! These events have its field names, nesting, kinds of values and mean size, and about its share of
//! matches for each rule. Streets that the rules name are facts of those projects' benchmarks; all
//! else is invented. Say "citylots2-like" when quoting a figure.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::random::Random;

/// How many events a full run takes: a quarter of the original.
pub(crate) const EVENTS: usize = 53_267;

const ORIGINAL: u32 = 213_068;

/// Streets, and on how many parcels of the original's number each stands.
#[rustfmt::skip]
const STREETS: [(&str, u32); 38] = [
    ("FULTON", 1910), ("FUNSTON", 477), ("MASON", 2657), ("MASONIC", 293), ("RHODE ISLAND", 328),
    ("BLAKE", 60), ("BLANKEN", 150), ("BLYTHDALE", 232), ("DRUMM", 13), ("DRUMMOND", 25),
    ("ACTON", 10), ("ACEVEDO", 14), ("JEFFERSON", 131), ("BEACH", 211), ("HYDE", 1758),
    ("CHESTNUT", 825), ("17TH", 1619), ("FOLSOM", 1390), ("LAKE", 740), ("CLARKE", 71),
    ("MOULTON", 22), ("STARLING", 900), ("DEERING", 1063), ("SANTIAGO", 682), ("WASHINGTON", 3600),
    ("JACKSON", 3300), ("HARRISON", 3100), ("CLAYTON", 2300), ("MISSION", 4200), ("MARKET", 2500),
    ("CALIFORNIA", 4100), ("PINE", 2600), ("BUSH", 2500), ("SUTTER", 2200), ("GEARY", 2900),
    ("19TH", 2700), ("24TH", 2400), (UNKNOWN, 9500),
];
const UNKNOWN: &str = "UNKNOWN";
const OTHER_STREETS: u32 = 1600;
#[rustfmt::skip]
const STARTS: [&str; 30] = [
    "BRE", "CAL", "DOR", "EL", "GAR", "HOL", "IN", "JU", "LOR", "MAR", "NOR", "OAK", "PAL", "QUE", "SAN",
    "TER", "UL", "VAL", "WES", "YOR", "ZO", "RA", "LI", "TA", "VE", "MO", "NA", "SE", "BA", "CO",
];
#[rustfmt::skip]
const ENDS: [&str; 16] = [
    "DALE", "VIEW", "LAND", "WOOD", "FORD", "STER", "NIA", "TTA", "VEY", "RST", "LEY", "DEN", "MAR",
    "VIA", "BRO", "TH",
];
/// What an invented street must not start or end with, for the rules ask for these.
const RULE_STARTS: [&str; 6] = ["AC", "BL", "DR", "FU", "RH", "MASO"];
const RULE_ENDS: [&str; 5] = ["ON", "KE", "MM", "ING", "GO"];
#[rustfmt::skip]
const STREET_TYPES: [(Option<&str>, u32); 13] = [
    (Some("ST"), 116_386), (Some("AVE"), 66_000), (None, 11_500), (Some("WAY"), 5200), (Some("DR"), 5100),
    (Some("CT"), 1774), (Some("TER"), 2600), (Some("BLVD"), 2400), (Some("PL"), 900), (Some("LN"), 800),
    (Some("CIR"), 390), (Some("STWY"), 15), (Some("ALY"), 3),
];
/// Parcels that rules name: block, lot, and how many of the original's number.
const RULE_LOTS: [(&str, &str, u32); 5] = [
    ("1430", "022", 1),
    ("2607", "117", 101),
    ("2607", "218", 35),
    ("3745", "012", 655),
    ("VACS", "TWIL", 1),
];
/// A coordinate that rules ask for.
const RULE_X: f64 = -122.429_163_609_223_55;

type Point = (f64, f64);

/// The first of that many events; a larger number gives other events, not more of the same.
pub(crate) fn events(count: usize) -> Vec<String> {
    let mut city = City::new(count);
    (0..count).map(|number| city.event(number)).collect()
}

/// One of several by weight: each with the sum of the weights up to it.
struct Weighted<T>(Vec<(f64, T)>);

impl<T: Clone> Weighted<T> {
    fn new(choices: impl IntoIterator<Item = (T, f64)>) -> Self {
        let mut sum = 0.0;
        let summed = choices.into_iter().map(|(choice, weight)| {
            sum += weight;
            (sum, choice)
        });
        Self(summed.collect())
    }

    fn pick(&self, random: &mut Random) -> Option<T> {
        let at = random.unit() * self.0.last()?.0;
        let place = self.0.partition_point(|(sum, _)| *sum <= at);
        self.0.get(place).map(|(_, choice)| choice.clone())
    }
}

struct City {
    random: Random,
    streets: Weighted<String>,
    types: Weighted<Option<&'static str>>,
    /// Numbers of the events that are a parcel some rule names.
    rule_lots: HashMap<usize, (&'static str, &'static str)>,
    rule_shapes: HashMap<&'static str, Vec<Point>>,
    two_shapes: BTreeSet<usize>,
    /// Parcels that stand on the same ground: its shape, and how many more have it.
    shape: Vec<Point>,
    shared: usize,
}

impl City {
    fn new(count: usize) -> Self {
        let mut random = Random::new("citylots", 0);
        let streets = streets(&mut random);
        let mut rule_lots = HashMap::new();
        for (block, lot, original) in RULE_LOTS {
            let number = in_proportion(original, count);
            let first = random.below(count.saturating_sub(number).max(1));
            rule_lots.extend((first..first + number).map(|at| (at, (block, lot))));
        }
        let two_shapes = (0..in_proportion(120, count)).map(|_| random.below(count.max(1)));
        Self {
            two_shapes: two_shapes.collect(),
            random,
            streets,
            types: Weighted::new(STREET_TYPES.map(|(name, weight)| (name, f64::from(weight)))),
            rule_lots,
            rule_shapes: HashMap::new(),
            shape: Vec::new(),
            shared: 0,
        }
    }

    fn event(&mut self, number: usize) -> String {
        let (block, lot, map_lot, mut shape) = match self.rule_lots.get(&number).copied() {
            Some((block, lot)) => {
                let shape = self.rule_shapes.entry(lot);
                let shape = shape.or_insert_with(|| polygon(&mut self.random)).clone();
                (block.to_owned(), lot.to_owned(), None, shape)
            }
            None => self.lot(),
        };
        if number.is_multiple_of(977) {
            shape[1].0 = RULE_X;
        }
        if number == 4242 {
            shape[0].0 = RULE_X;
        }
        let random = &mut self.random;
        let from = house(random);
        let to = if random.chance(0.7) {
            from.clone()
        } else {
            house(random)
        };
        let street = self.streets.pick(random).unwrap_or_default();
        let street_type = if street == UNKNOWN {
            None
        } else {
            self.types.pick(random).flatten()
        };
        let coordinates = points(&shape);
        let geometry = if self.two_shapes.contains(&number) {
            json!({
                "type": "MultiPolygon",
                "coordinates": [coordinates, points(&polygon(random))],
                "firstCoordinates": point(&shape[0]),
            })
        } else {
            json!({
                "type": "Polygon",
                "coordinates": coordinates,
                "firstCoordinates": point(&shape[0]),
            })
        };
        json!({
            "type": "Feature",
            "properties": {
                "MAPBLKLOT": map_lot.unwrap_or_else(|| format!("{block}{lot}")),
                "BLKLOT": format!("{block}{lot}"),
                "BLOCK_NUM": block,
                "LOT_NUM": lot,
                "FROM_ST": from,
                "TO_ST": to,
                "STREET": street,
                "ST_TYPE": street_type,
                "ODD_EVEN": if random.chance(0.46) { "E" } else { "O" },
            },
            "geometry": geometry,
        })
        .to_string()
    }

    /// A parcel that no rule names: block, lot, the lot on the map if that is another, shape.
    fn lot(&mut self) -> (String, String, Option<String>, Vec<Point>) {
        let random = &mut self.random;
        let mut block = format!("{:04}", random.within(1, 7300));
        let lot = format!("{:03}", random.within(1, 320));
        if random.chance(0.03) {
            block.push(random.pick(&['A', 'B']));
        }
        let map_lot = random
            .chance(0.3)
            .then(|| format!("{block}{:03}", random.within(1, 60)));
        if self.shared == 0 {
            self.shape = polygon(random);
            self.shared = if random.chance(0.75) {
                random.within(1, 3)
            } else {
                random.within(4, 40)
            };
        }
        self.shared -= 1;
        (block, lot, map_lot, self.shape.clone())
    }
}

/// As many of `count` as `original` is of the original, but one at least.
fn in_proportion(original: u32, count: usize) -> usize {
    let share = (original as usize * count + ORIGINAL as usize / 2) / ORIGINAL as usize;
    share.max(1).min(count)
}

fn streets(random: &mut Random) -> Weighted<String> {
    let named: u32 = STREETS.iter().map(|(_, weight)| weight).sum();
    let each = f64::from(ORIGINAL - named) / f64::from(OTHER_STREETS);
    let mut streets: Vec<_> = STREETS
        .iter()
        .map(|(name, weight)| ((*name).to_owned(), f64::from(*weight)))
        .collect();
    for _ in 0..OTHER_STREETS {
        streets.push((other_street(random), each * (0.2 + 1.6 * random.unit())));
    }
    Weighted::new(streets)
}

fn other_street(random: &mut Random) -> String {
    loop {
        let starts: String = (0..random.within(1, 2))
            .map(|_| random.pick(&STARTS))
            .collect();
        let name = starts + random.pick(&ENDS);
        let asked_for = RULE_STARTS.iter().any(|start| name.starts_with(start))
            || RULE_ENDS.iter().any(|end| name.ends_with(end))
            || STREETS.iter().any(|(street, _)| *street == name);
        if !asked_for {
            return name;
        }
    }
}

/// A house's number; some are more common than others.
fn house(random: &mut Random) -> String {
    if random.chance(0.0225) {
        return match random.below(119) {
            0..57 => 441,
            at @ 57..89 => 442 + at % 8,
            at => [41, 141, 241, 341, 541, 641][at % 6],
        }
        .to_string();
    }
    let mut number = random.within(1, 9) * 100 + random.below(100);
    number += if random.chance(0.6) { 1000 } else { 0 };
    number += if random.chance(0.3) { 1000 } else { 0 };
    number.to_string()
}

/// A ring of 5 to 61 points, about 10 on average, 70 % of them in the west.
fn polygon(random: &mut Random) -> Vec<Point> {
    let x = if random.chance(0.6985) {
        -122.416 - 0.095 * random.unit().powf(0.7)
    } else {
        -122.4159 + 0.05 * random.unit()
    };
    let y = 37.708 + 0.1 * random.unit();
    let more = (random.unit() * 2.3 + random.unit() * 1.6 - 0.5)
        .exp()
        .min(56.0);
    let mut points: Vec<Point> = Vec::new();
    let mut left = 4.0 + more.floor();
    while left > 0.0 {
        points.push((
            x + (random.unit() - 0.5) * 4e-4,
            y + (random.unit() - 0.5) * 3e-4,
        ));
        left -= 1.0;
    }
    points.push(points[0]);
    points
}

fn points(points: &[Point]) -> Value {
    points.iter().map(point).collect()
}

fn point((x, y): &Point) -> Value {
    json!({"x": x, "y": y, "z": 0.0})
}
