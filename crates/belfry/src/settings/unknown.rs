//! Answers to names that nobody knows: with the one that was probably meant.

use belfry_model::json::nearest;

use super::SECTIONS;
use super::layers::{OTHER_VARIABLES, Origin, Problem};
use super::table::{Setting, variable};

fn did_you_mean(near: Option<String>) -> String {
    near.map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

fn keys_of(section: &str) -> impl Iterator<Item = &'static str> {
    SECTIONS
        .iter()
        .filter(move |known| known.name == section)
        .flat_map(|known| known.settings)
        .map(|setting| setting.key)
}

/// The same key in another section: people remember names better than sections.
fn elsewhere(key: &str) -> Option<String> {
    SECTIONS
        .iter()
        .flat_map(|section| section.settings)
        .find(|setting| setting.key == key)
        .map(Setting::path)
}

pub(super) fn unknown_key(section: &str, key: &str, origin: Origin) -> Problem {
    let near = nearest(key, keys_of(section))
        .map(|near| format!("{section}.{near}"))
        .or_else(|| elsewhere(key));
    let detail = format!("there is no such setting{}", did_you_mean(near));
    Problem {
        key: format!("{section}.{key}"),
        detail,
        origin,
    }
}

pub(super) fn unknown_section(section: &str, origin: Origin) -> Problem {
    let names = || SECTIONS.iter().map(|known| known.name);
    let near = nearest(section, names()).map(|near| format!("[{near}]"));
    let detail = if near.is_some() {
        format!("there is no such section{}", did_you_mean(near))
    } else {
        format!(
            "there is no such section; there are {}",
            names().collect::<Vec<_>>().join(", ")
        )
    };
    Problem {
        key: section.to_owned(),
        detail,
        origin,
    }
}

pub(super) fn misplaced(key: &str, origin: Origin) -> Problem {
    let near = elsewhere(key).or_else(|| {
        nearest(key, SECTIONS.iter().map(|known| known.name))
            .map(|near| format!("section [{near}]"))
    });
    let detail = format!("every setting stands in a section{}", did_you_mean(near));
    Problem {
        key: key.to_owned(),
        detail,
        origin,
    }
}

pub(super) fn unknown_variable(name: &str, origin: Origin) -> Problem {
    let known: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| section.settings)
        .flat_map(|setting| {
            let file = setting
                .secret
                .then(|| variable(setting.section, &format!("{}_file", setting.key)));
            [Some(setting.variable()), file]
        })
        .flatten()
        .chain(OTHER_VARIABLES.map(str::to_owned))
        .collect();
    // The prefix would make every variable look like every other.
    let rest = |name: &str| {
        name.strip_prefix("BELFRY_")
            .unwrap_or(name)
            .replace("__", "_")
    };
    let shortened: Vec<String> = known.iter().map(|one| rest(one)).collect();
    let wanted = rest(name);
    let near = nearest(&wanted, shortened.iter().map(String::as_str))
        .and_then(|near| shortened.iter().position(|one| one == near))
        .or_else(|| {
            shortened
                .iter()
                .position(|one| one.ends_with(&format!("_{wanted}")))
        })
        .and_then(|index| known.get(index).cloned());
    let detail = format!("there is no such setting{}", did_you_mean(near));
    Problem {
        key: name.to_owned(),
        detail,
        origin,
    }
}
