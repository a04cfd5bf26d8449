//! Inputs made to be slow. What is counted are steps and not time: twice the input may take about
//! twice the steps.

use std::fmt::Write;

use belfry_pattern::{Pattern, RuleList, RuleSet, Scratch, Work};

fn joined(n: usize, each: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for i in 0..n {
        let comma = if i > 0 { "," } else { "" };
        write!(text, "{comma}{}", each(i)).unwrap();
    }
    text
}

fn rules(n: usize, each: impl Fn(usize) -> String) -> Vec<String> {
    (0..n).map(each).collect()
}

/// What it takes to match the event with the rules; the plain list has to agree.
#[track_caller]
fn work(rules: &[String], event: &str) -> Work {
    let (mut set, mut list) = (RuleSet::new(), RuleList::default());
    for (id, rule) in (0..).zip(rules) {
        let pattern = Pattern::parse(rule.as_bytes()).unwrap();
        set.add(id, &pattern);
        list.add(id, &pattern);
    }
    let mut scratch = Scratch::default();
    let matched = set.matches(event.as_bytes(), &mut scratch).unwrap();
    // The list takes rules times values: asked only where that is bearable.
    if rules.len() * event.len() < 20_000_000 {
        assert_eq!(list.matches(event.as_bytes()).unwrap(), matched);
    }
    scratch.work()
}

const fn steps(work: Work) -> usize {
    work.values + work.probes + work.found + work.candidates + work.tests + work.arrays
}

/// Twice as much may take a little more than twice the steps.
#[track_caller]
fn grows_evenly(n: usize, input: impl Fn(usize) -> (Vec<String>, String)) {
    let (small_rules, small_event) = input(n);
    let (large_rules, large_event) = input(2 * n);
    // One secret in 64 lets a value through to a look-up that the others spare it; hardly ever three of them do.
    let least = |rules: &[String], event: &str| {
        let works = [(); 3].map(|()| work(rules, event));
        works.into_iter().min_by_key(|work| steps(*work))
    };
    let small = least(&small_rules, &small_event).unwrap();
    let large = least(&large_rules, &large_event).unwrap();
    assert!(
        steps(large) <= steps(small) * 5 / 2 + 1000,
        "{small:?}, then {large:?}"
    );
    // Nor many for each byte and rule.
    let size = large_event.len() + large_rules.iter().map(String::len).sum::<usize>();
    assert!(steps(large) <= size * 130, "{size} bytes: {large:?}");
}

#[test]
fn arrays_of_one_value() {
    for value in ["\"x\"", "1", "null", "\"10.0.0.1\"", "[\"x\"]", "{\"y\":1}"] {
        grows_evenly(2000, |n| {
            let all = [
                r#"{"a":["x"]}"#,
                r#"{"a":[1,null],"b":["x"]}"#,
                r#"{"a":[{"prefix":"x"}],"b":[{"contain":"xyz"}]}"#,
                r#"{"a":[{"anything-but":["x",{}]}]}"#,
                r#"{"a":[{"numeric":[">",5]},{"cidr":"10.0.0.0/9"}]}"#,
                r#"{"a":["x"],"b":[1]}"#,
            ];
            let valid = all
                .iter()
                .filter(|rule| Pattern::parse(rule.as_bytes()).is_ok());
            let rules = valid.map(|&rule| rule.to_owned()).collect();
            let values = vec![value; n].join(",");
            (rules, format!("{{\"a\":[{values}],\"b\":[{values}]}}"))
        });
    }
}

/// The list of rules under one key is taken once, not once for each value that leads to it.
#[test]
fn one_value_often_and_one_key_often() {
    grows_evenly(1000, |n| {
        let rules = rules(n, |_| r#"{"a":["x"]}"#.to_owned());
        (rules, format!("{{\"a\":[{}]}}", vec!["\"x\""; n].join(",")))
    });
    grows_evenly(1000, |n| {
        let rules = rules(n, |i| {
            format!("{{\"a\":[\"x\"],\"b\":[{{\"numeric\":[\">\",{i}]}}]}}")
        });
        let values = vec!["\"x\""; n].join(",");
        (rules, format!("{{\"a\":[{values}],\"b\":-1}}"))
    });
    grows_evenly(500, |n| {
        let rules = rules(n, |i| {
            format!("{{\"a\":[\"x\"],\"b\":[\"y\"],\"c\":[{i}]}}")
        });
        let values = vec!["\"x\",\"y\""; n].join(",");
        (
            rules,
            format!("{{\"a\":[{values}],\"b\":[{values}],\"c\":true}}"),
        )
    });
}

#[test]
fn pieces_of_a_string_of_one_letter() {
    grows_evenly(500, |n| {
        let rules = rules(n, |_| r#"{"a":[{"contain":"aaaa"}]}"#.to_owned());
        (rules, format!("{{\"a\":\"{}\"}}", "a".repeat(n * 100)))
    });
    grows_evenly(500, |n| {
        let rules = rules(n, |i| {
            format!("{{\"b\":[\"x\"],\"a\":[{{\"wildcard\":\"*aaa*{i}*\"}}]}}")
        });
        let values = vec![format!("\"{}\"", "a".repeat(100)); n].join(",");
        (rules, format!("{{\"a\":[{values}],\"b\":\"y\"}}"))
    });
    let piece = "*a".repeat(63);
    grows_evenly(50_000, |n| {
        let rule =
            format!("{{\"k\":[{{\"wildcard\":\"{piece}*b\"}},{{\"regexp\":\"(a|aa)+b\"}}]}}");
        (vec![rule], format!("{{\"k\":\"{}\"}}", "a".repeat(n)))
    });
    // A megabyte: that it ends at all is the test.
    let rule = r#"{"k":[{"regexp":"(a|aa)+(a|b)*c"},{"regexp":".*a.{20}b"},{"contain":"aab"}]}"#;
    let event = format!("{{\"k\":\"{}\"}}", "a".repeat(1_000_000));
    assert_eq!(work(&[rule.to_owned()], &event).candidates, 1);
}

/// A long string is no reason to go through all rules.
#[test]
fn a_long_string_and_many_rules_that_do_not_look_at_it() {
    let of_interest =
        |i| format!("{{\"source\":[\"x\"],\"message\":[{{\"contain\":\"error {i}\"}}]}}");
    let event = format!(
        "{{\"source\":\"x\",\"message\":\"{}\"}}",
        "abcdefghij".repeat(1000)
    );
    let mut all = rules(20, of_interest);
    let few = work(&all, &event);
    all.extend(rules(5000, |i| format!("{{\"other\":[{i}]}}")));
    assert_eq!(work(&all, &event).probes, few.probes);
    assert!(few.probes < 2 * event.len(), "{few:?}");
}

#[test]
fn numbers_in_ranges() {
    // Every number lies in every range.
    grows_evenly(500, |n| {
        let rules = rules(n, |i| {
            format!(
                "{{\"a\":[{{\"numeric\":[\">\",-{i},\"<\",{}]}}]}}",
                10_000 + i
            )
        });
        (
            rules,
            format!("{{\"a\":[{}]}}", joined(n, |i| i.to_string())),
        )
    });
    // The same, with something else that is not there.
    grows_evenly(500, |n| {
        let rules = rules(n, |i| {
            format!(
                "{{\"a\":[{{\"numeric\":[\">\",-{i},\"<\",{}]}}],\"b\":[{{\"anything-but\":\"x\"}}]}}",
                10_000 + i
            )
        });
        (
            rules,
            format!("{{\"a\":[{}],\"b\":\"x\"}}", joined(n, |i| i.to_string())),
        )
    });
    grows_evenly(500, |n| {
        let rules = rules(n, |i| {
            format!("{{\"a\":[{{\"numeric\":[\"<\",{}]}}]}}", 10_000 + i)
        });
        (
            rules,
            format!("{{\"a\":[{}]}}", joined(n, |i| i.to_string())),
        )
    });
}

#[test]
fn objects_in_arrays() {
    let fields = [
        r#"{"l":{"a":["x"],"b":["y"]}}"#,
        r#"{"l":{"a":["x"],"b":["y"],"c":[{"anything-but":"z"}]}}"#,
        r#"{"l":{"a":["x"],"c":[{"exists":false}]}}"#,
        r#"{"l":{"a":[{"exists":false}],"b":[{"exists":true}],"c":[{"exists":false}]}}"#,
        r#"{"l":{"a":[{"prefix":""}],"m":{"a":["x"],"b":["y",{"exists":false}]}}}"#,
    ];
    for object in [
        r#"{"a":"x","b":"z","c":"z"}"#,
        r#"{"a":"x","a":"x","c":["z","z"],"m":[{"a":"x","b":"z"}]}"#,
        r#"[{"a":"x","m":{"a":"x","b":[1,2]}},{"b":"y"}]"#,
    ] {
        for nested in [1, 100] {
            grows_evenly(1000, |n| {
                let (open, close) = ("[".repeat(nested), "]".repeat(nested));
                let objects = vec![object; n].join(",");
                let rules = fields.map(str::to_owned).to_vec();
                (rules, format!("{{\"l\":{open}{objects}{close}}}"))
            });
        }
    }
}

/// Ways through arrays that stand side by side are tried only so often, however long they are.
#[test]
fn one_path_through_many_arrays() {
    let names = 13;
    let rule = format!(
        "{{\"a\":{{{}}}}}",
        joined(names, |i| format!("\"f{i}\":[\"x\"]"))
    );
    let objects = |n| joined(n, |i| format!("{{\"f{}\":\"x\"}}", i % names));
    for n in [1000, 50_000] {
        let event = format!("{{\"a\":[{0}],\"a\":[{0}]}}", objects(n));
        let found = work(std::slice::from_ref(&rule), &event);
        assert!(found.tests <= 10 * n, "{found:?}");
        let many = format!(
            "{{{}}}",
            joined(n, |i| format!("\"a\":[{{\"f{}\":\"x\"}}]", i % names))
        );
        // Different arrays do not restrict each other: that it ends is the test.
        let found = work(std::slice::from_ref(&rule), &many);
        assert!(found.tests <= 10 * n, "{found:?}");
    }
}

/// Keys of several fields are not looked up for every combination of thousands of values.
#[test]
fn many_values_at_several_paths() {
    for both in [1, 0] {
        grows_evenly(1000, |n| {
            let rules = rules(100, |i| {
                format!("{{\"a\":[\"x{i}\"],\"b\":[\"y{i}\"],\"c\":[{{\"contain\":\"zzz\"}}]}}")
            });
            let values = |name| joined(n, |i| format!("\"{name}{}\"", i / 100 * both + i));
            let event = format!(
                "{{\"a\":[{}],\"b\":[{}],\"c\":\"zz{}\"}}",
                values("x"),
                values("y"),
                "a".repeat(n)
            );
            (rules, event)
        });
    }
    // Each path with each other one, all of them crowded.
    let rules = rules(400, |i| {
        format!(
            "{{\"p{}\":[\"{i}\"],\"p{}\":[\"{i}\"],\"q{}\":[1]}}",
            i % 20,
            i / 20,
            i % 7
        )
    });
    let values = joined(500, |i| format!("\"{i}\""));
    let paths = joined(20, |i| format!("\"p{i}\":[{values}]"));
    let work = work(&rules, &format!("{{{paths}}}"));
    assert!(work.probes <= 400 * 4096, "{work:?}");
}

#[test]
fn many_rules() {
    grows_evenly(2000, |n| {
        (
            rules(n, |i| {
                format!("{{\"s\":[\"x\"],\"n\":[{{\"anything-but\":{i}}}]}}")
            }),
            r#"{"s":"x","n":[]}"#.to_owned(),
        )
    });
    grows_evenly(2000, |n| {
        (
            rules(n, |i| format!("{{\"p{i}\":{{\"q\":[{i}]}}}}")),
            format!(
                "{{{}}}",
                joined(n, |i| format!("\"p{i}\":{{\"q\":{i},\"r\":1}}"))
            ),
        )
    });
    // Every length there is of beginnings and ends.
    for operator in ["prefix", "suffix"] {
        let rules = rules(1000, |i| {
            format!("{{\"a\":[{{\"{operator}\":\"{}\"}}]}}", "a".repeat(i + 1))
        });
        let work = work(&rules, &format!("{{\"a\":\"{}\"}}", "a".repeat(2000)));
        assert!(work.probes <= 30, "{work:?}");
    }
    // Every length of a block.
    let rules = rules(160, |i| {
        let block = if i < 32 {
            format!("10.1.2.3/{}", i + 1)
        } else {
            format!("fe80::1/{}", i - 31)
        };
        format!("{{\"a\":[{{\"cidr\":\"{block}\"}}]}}")
    });
    let work = work(
        &rules,
        &format!(
            "{{\"a\":[{}]}}",
            vec!["\"10.1.2.3\",\"fe80::1\""; 100].join(",")
        ),
    );
    assert!(work.probes <= 200 * 70, "{work:?}");
}

#[test]
fn branches_that_multiply() {
    grows_evenly(20, |n| {
        let one = |i: usize| {
            let ors = joined(8, |k| {
                format!(r#""$or":[{{"a{k}":["x"]}},{{"b{k}":[{i}]}}]"#)
            });
            format!("{{{ors},\"z\":[\"{i}\"]}}")
        };
        let members = joined(8, |k| format!("\"a{k}\":[\"x\",\"y\"],\"b{k}\":[1,2,3]"));
        (rules(n, one), format!("{{{members},\"z\":\"5\"}}"))
    });
}

/// Each array is read once, however many rules look into it.
#[test]
fn arrays_as_a_whole() {
    let event = |n| {
        format!(
            "{{\"a\":[{}]}}",
            vec!["[{\"b\":1},{\"c\":[]}]"; n].join(",")
        )
    };
    let all = |n| {
        rules(n, |i| {
            format!("{{\"a\":[{{\"array\":{{\"b\":{}}}}}]}}", i + 2)
        })
    };
    for count in [1, 50] {
        let event = event(500);
        let work = work(&all(count), &event);
        assert!(work.arrays <= 2 * event.len(), "{work:?}");
    }
    grows_evenly(500, |n| (all(20), event(n)));
    grows_evenly(50, |n| (all(n), event(500)));
    // In each other: each is a part of those around it, and there are only so many around it.
    grows_evenly(500, |n| {
        let (open, close) = ("[".repeat(120), "]".repeat(120));
        (
            all(20),
            format!("{{\"a\":{open}{}{close}}}", vec!["{\"b\":1}"; n].join(",")),
        )
    });
}

#[test]
fn escapes_and_digits() {
    let all = [
        r#"{"a":["x"]}"#,
        r#"{"a":[{"suffix":"x"}],"b":[1]}"#,
        r#"{"a":[{"equals-ignore-case":"x"}]}"#,
        r#"{"a":[{"suffix":{"equals-ignore-case":"X"}}]}"#,
        r#"{"a":[{"wildcard":"*xyz*y*"}]}"#,
        r#"{"a":[{"numeric":[">=",5]}]}"#,
        r#"{"a":[{"numeric":[">",1.5,"<",2]}],"b":[1]}"#,
        r#"{"a":[{"anything-but":[12,14]}]}"#,
        r#"{"a":[11111111111111111111111,1e400]}"#,
    ];
    for piece in ["\\n", "\\u0041", "\\ud83d\\ude00", "\\\\", "\\\"", "é"] {
        grows_evenly(20_000, |n| {
            (
                all.map(str::to_owned).to_vec(),
                format!(
                    "{{\"{0}\":1,\"a\":\"{0}\",\"b\":[\"{0}\"]}}",
                    piece.repeat(n)
                ),
            )
        });
    }
    let event = format!("{{\"a\":[\"{}\"]}}", "\\u0041".repeat(170_000));
    assert!(steps(work(&all.map(str::to_owned), &event)) < 5_000_000);
    for digits in ["1", "0", "9"] {
        grows_evenly(100_000, |n| {
            let long = digits.repeat(n);
            let mut rules = all.map(str::to_owned).to_vec();
            rules.push(format!("{{\"a\":[1.{}1]}}", digits.repeat(50_000)));
            (
                rules,
                format!("{{\"a\":[1{long},1.{long}1,1.{long}e-10,0.{long}1,1e{long}]}}"),
            )
        });
    }
}
